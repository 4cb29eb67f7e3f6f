package diagnose

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// statusProblem is the verdict on an answer that health checks do not accept.
func (v *visit) statusProblem(got reply) *verdict {
	if v.asked && got.status < 500 && (got.status == 496 || bytes.Contains(bytes.ToLower(got.body), []byte("certificate"))) {
		return v.clientCertificateProblem() // nginx says it with a status
	}
	status := strings.TrimSpace(fmt.Sprintf("%d %s", got.status, http.StatusText(got.status)))
	p := problem(cause.UnexpectedStatus, fmt.Sprintf("It answers with status %s; health checks expect 200 to 399 unless health_status says otherwise.", status))
	p.advice = statusAdvice(got.status, v.target.url.Path)
	return p
}

func statusAdvice(status int, path string) string {
	path = printable(path)
	switch status {
	case http.StatusBadRequest, http.StatusMisdirectedRequest:
		return "Many apps say that to a Host which they do not know: set health_headers { Host … }, or allow this one in the app."
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return fmt.Sprintf("The app wants a login for %s: choose a health_uri that needs none, or let the proxy's address in.", path)
	case http.StatusNotFound, http.StatusGone:
		return fmt.Sprintf("The app runs, but has no %s: name a path that it has as health_uri, and look here with http://host:port/path.", path)
	case http.StatusMethodNotAllowed:
		return "The app does not take GET there: choose another health_uri, or a health_method."
	case http.StatusTooManyRequests:
		return "The app limits requests: exempt the proxy, or raise health_interval."
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		return "It is a proxy itself, and gets no answer from what is behind it: look there."
	case http.StatusServiceUnavailable:
		return "The app says that it is not ready: is it still starting, in maintenance, or short of something that it needs, such as its database?"
	}
	if status >= http.StatusInternalServerError {
		return "The app runs, but fails at this request: its log may tell why."
	}
	return cause.UnexpectedStatus.Advice()
}
