package page

import (
	"bytes"
	"fmt"
)

// writeText writes n as lines for a terminal. The first one is what tools have
// searched for since Envoy.
func writeText(b *bytes.Buffer, n Notice, method string) {
	b.WriteString("no healthy upstream\n\n")
	service := n.Service
	if service == "" {
		service = "The service"
	}
	fmt.Fprintf(b, "%s is not answering. The problem is on its side, not yours.\n", service)
	if n.Message != "" {
		fmt.Fprintln(b, n.Message)
	}
	fmt.Fprintln(b, outcome(n, method))
	switch {
	case n.RetryAfter == 1:
		fmt.Fprintln(b, "Try again in 1 second.")
	case n.RetryAfter > 1:
		fmt.Fprintf(b, "Try again in %d seconds.\n", n.RetryAfter)
	}
	for _, l := range templateLinks(n) {
		fmt.Fprintf(b, "%s: %s\n", l.Label, l.URL)
	}
	if n.Reference != "" {
		fmt.Fprintf(b, "Reference: %s\n", n.Reference)
	}
}
