package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/outage"
	"github.com/healthpool/caddy-healthpool/internal/page"
	"github.com/healthpool/caddy-healthpool/internal/page/words"
	"github.com/healthpool/caddy-healthpool/internal/represent"
)

func previewCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "preview [--config <path> [--adapter <name>]] [--all <dir> | [--lang <tag>] [--cause <cause>] [--form] [--format <format>]]",
		Short: "Writes the pages that a config would serve in an outage",
		Long: `Writes what clients would be given in an outage, with the options of
no_healthy_upstream in a config: one answer to standard output, or all of them
into a directory. It needs no running Caddy.

Without --config, the Caddyfile of the current directory is used; without any
config, the options have their defaults. Of several no_healthy_upstream, the
first is shown, or with --all each in a directory of its own.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return preview(caddycmd.Flags{FlagSet: cmd.Flags()}, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringP("config", "c", "", "Configuration file")
	f.StringP("adapter", "a", "", "Name of config adapter to apply")
	f.StringP("lang", "l", "", "Language of the page, as a visitor's browser would ask for it")
	f.String("cause", string(cause.DestinationUnavailable), "Cause of the outage, in the words of RFC 9209, or maintenance")
	f.Bool("form", false, "Show what follows on a form that was sent")
	f.StringP("format", "f", string(represent.HTML), "Format of the answer: "+formatNames())
	f.String("all", "", "Directory to write all answers to")
	for _, one := range []string{"lang", "cause", "form", "format"} { // which choose one answer
		cmd.MarkFlagsMutuallyExclusive("all", one)
	}
	return cmd
}

func formatNames() string {
	names := make([]string, len(represent.All()))
	for i, f := range represent.All() {
		names[i] = string(f)
	}
	return strings.Join(names, ", ")
}

// previewed is one no_healthy_upstream of a config, as far as its answers depend on it.
type previewed struct {
	page.Options
	Status     int             `json:"status"`
	RetryAfter *caddy.Duration `json:"retry_after"`
	Refresh    *bool           `json:"refresh"`

	page *page.Page
}

// maintenance stands for a cause: the owner has closed the site.
const maintenance = "maintenance"

func preview(fl caddycmd.Flags, out, note io.Writer) error {
	handlers, err := previewedIn(fl.String("config"), fl.String("adapter"))
	if err != nil {
		return err
	}
	if dir := fl.String("all"); dir != "" {
		return previewAll(handlers, dir, note)
	}
	if len(handlers) > 1 {
		_, _ = fmt.Fprintf(note, "This config has %d no_healthy_upstream; this is the first.\n", len(handlers))
	}
	c, err := causeOf(fl.String("cause"))
	if err != nil {
		return err
	}
	format := represent.Format(fl.String("format"))
	if !slices.Contains(represent.All(), format) {
		return fmt.Errorf("format: must be one of %s, got %q", formatNames(), format)
	}
	lang := fl.String("lang")
	if lang != "" {
		if lang, err = words.Tag(lang); err != nil {
			return fmt.Errorf("lang: %w", err)
		}
	}
	if format == represent.GRPC || format == represent.Bare {
		_, _ = fmt.Fprintf(note, "%s has no body, only headers.\n", format)
	}
	_, err = out.Write(handlers[0].answer(sample{cause: c, form: fl.Bool("form"), format: format, lang: lang}))
	return err
}

// causeOf parses the cause of --cause.
func causeOf(name string) (cause.Cause, error) {
	names := []string{maintenance}
	for _, c := range cause.All() {
		if c.OfRequests() {
			names = append(names, string(c))
		}
	}
	if !slices.Contains(names, name) {
		return "", fmt.Errorf("cause: must be one of %s, got %q", strings.Join(names, ", "), name)
	}
	return cause.Cause(name), nil
}

// previewedIn returns each no_healthy_upstream of a config.
func previewedIn(file, adapter string) ([]*previewed, error) {
	config, err := loadQuietly(file, adapter)
	if err != nil {
		return nil, err
	}
	var handlers []*previewed
	if len(config) > 0 {
		var parsed any
		if err := json.Unmarshal(config, &parsed); err != nil {
			return nil, fmt.Errorf("config: %w", err)
		}
		if handlers, err = findHandlers(parsed, nil); err != nil {
			return nil, err
		}
		if len(handlers) == 0 {
			return nil, errors.New("config: has no no_healthy_upstream and no healthpool")
		}
	} else {
		handlers = []*previewed{new(previewed)}
	}
	for _, h := range handlers {
		if h.page, err = page.New(h.Options); err != nil {
			return nil, err
		}
	}
	return handlers, nil
}

// loadQuietly loads a config without core's lines about where it is from: only the
// warnings remain.
func loadQuietly(file, adapter string) ([]byte, error) {
	_, log, buffer := caddy.BufferedLog()
	config, _, _, err := caddycmd.LoadConfig(file, adapter)
	buffer.FlushTo(log.WithOptions(zap.IncreaseLevel(zap.WarnLevel)))
	caddy.UnbufferDefaultLogger(log)
	return config, err
}

// findHandlers adds each no_healthy_upstream within v to those found so far, in the
// order of routes.
func findHandlers(v any, found []*previewed) (_ []*previewed, err error) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			if found, err = findHandlers(item, found); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		if v["handler"] == "no_healthy_upstream" {
			h := new(previewed)
			raw, _ := json.Marshal(v) // it came from JSON
			if err := json.Unmarshal(raw, h); err != nil {
				return nil, fmt.Errorf("no_healthy_upstream: %w", err)
			}
			return append(found, h), nil
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if found, err = findHandlers(v[key], found); err != nil {
				return nil, err
			}
		}
	}
	return found, nil
}

// sample is an outage as one client sees it.
type sample struct {
	cause  cause.Cause
	form   bool
	long   bool
	format represent.Format
	lang   string
}

// answer is the body that a client gets in an outage.
func (h *previewed) answer(s sample) []byte {
	n := page.Notice{Status: s.cause.Status(), Cause: s.cause, Fate: s.cause.Fate(), Reference: "7qx4m2kdp", RetryAfter: 8, Long: s.long}
	if s.cause == maintenance {
		n.Cause, n.Status, n.Fate = cause.DestinationUnavailable, http.StatusServiceUnavailable, cause.NotSent
		n.Planned, n.Until = true, time.Now().Add(2*time.Hour).Truncate(time.Hour)
	}
	if h.Status != 0 {
		n.Status = h.Status
	}
	switch {
	case h.RetryAfter == nil:
	case *h.RetryAfter == 0: // off
		n.RetryAfter = 0
	default:
		n.RetryAfter = outage.Seconds(time.Duration(*h.RetryAfter))
	}
	if h.Refresh == nil || *h.Refresh {
		n.Poll = "preview"
	}
	method := http.MethodGet
	if s.form {
		method = http.MethodPost
	}
	r := &http.Request{Method: method, Host: "example.com", Header: http.Header{"Accept-Language": {s.lang}}}
	w := &written{header: make(http.Header)}
	_ = h.page.Respond(w, r, s.format, n) // a template that fails is already an error of page.New
	return w.Bytes()
}

// written is a response of which only the body is used.
type written struct {
	bytes.Buffer
	header http.Header
}

func (w *written) Header() http.Header { return w.header }
func (w *written) WriteHeader(int)     {}

// previewAll writes every page in every language, and one answer in every format.
func previewAll(handlers []*previewed, dir string, note io.Writer) error {
	for i, h := range handlers {
		to := dir
		if len(handlers) > 1 {
			to = filepath.Join(dir, strconv.Itoa(i+1))
		}
		samples := h.samples()
		for name, s := range samples {
			path := filepath.Join(to, name)
			if err := os.MkdirAll(filepath.Dir(path), fs.FileMode(0o755)); err != nil {
				return fmt.Errorf("all: %w", err)
			}
			if err := os.WriteFile(path, h.answer(s), fs.FileMode(0o644)); err != nil {
				return fmt.Errorf("all: %w", err)
			}
		}
		first := filepath.Join(to, h.page.Languages()[0], "page.html")
		_, _ = fmt.Fprintf(note, "%d answers are in %s; begin with %s\n", len(samples), to, first)
	}
	return nil
}

// samples are the answers to show, by the name of their file.
func (h *previewed) samples() map[string]sample {
	all := make(map[string]sample)
	for _, lang := range h.page.Languages() {
		for name, s := range map[string]sample{
			"page":          {cause: cause.DestinationUnavailable},
			"form-not-sent": {cause: cause.DestinationUnavailable, form: true},
			"form-unknown":  {cause: cause.ConnectionTerminated, form: true},
			"long":          {cause: cause.DestinationUnavailable, long: true},
			"maintenance":   {cause: maintenance},
		} {
			s.lang, s.format = lang, represent.HTML
			all[filepath.Join(lang, name+".html")] = s
		}
	}
	for _, f := range represent.All() {
		if f != represent.HTML && f != represent.Bare && f != represent.GRPC {
			all[string(f)+".txt"] = sample{cause: cause.DestinationUnavailable, format: f, form: true}
		}
	}
	return all
}
