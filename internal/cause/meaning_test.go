package cause

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
)

func TestAllIsComplete(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "cause.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := map[Cause]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Cause" {
			text, _ := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			declared[Cause(text)] = true
		}
		return true
	})
	for _, c := range All() {
		if !declared[c] {
			t.Errorf("%q is listed twice or not declared", c)
		}
		delete(declared, c)
	}
	if len(declared) != 0 {
		t.Errorf("not listed: %v", declared)
	}
}

func TestAdvice(t *testing.T) {
	seen := map[string]Cause{}
	for _, c := range All() {
		advice := c.Advice()
		if advice == "" || len(advice) > 160 || !strings.ContainsAny(advice[len(advice)-1:], ".?") {
			t.Errorf("%s: advice is missing, too long or no sentence: %q", c, advice)
		}
		if other, ok := seen[advice]; ok {
			t.Errorf("%s and %s have the same advice", c, other)
		}
		seen[advice] = c
	}
	const refused = "Nothing listens on that port. Is the app running, and is the port right?"
	if got := ConnectionRefused.Advice(); got != refused {
		t.Errorf("got %q", got)
	}
	if got := Cause("what").Advice() + Cause("").Advice(); got != "" {
		t.Errorf("advice for nothing: %q", got)
	}
}

func TestConsequences(t *testing.T) {
	tests := map[Cause]struct {
		status int
		fate   Fate
		hard   bool
	}{
		DestinationUnavailable:  {503, NotSent, false},
		ConnectionLimitReached:  {503, NotSent, false},
		ConnectionRefused:       {502, NotSent, true},
		ConnectionTimeout:       {504, NotSent, true},
		ConnectionTerminated:    {502, Unknown, false},
		ConnectionReadTimeout:   {504, Unknown, false},
		DNSError:                {502, NotSent, true},
		DNSTimeout:              {504, NotSent, true},
		DestinationIPUnroutable: {502, NotSent, true},
		TLSCertificateError:     {502, NotSent, true},
		TLSProtocolError:        {502, NotSent, true},
		TLSAlertReceived:        {502, NotSent, true},
		HTTPResponseTimeout:     {504, Unknown, false},
		HTTPProtocolError:       {502, Unknown, false},
		ProxyInternalError:      {502, Unknown, false},
		UnexpectedStatus:        {502, Unknown, true},
		UnexpectedBody:          {502, Unknown, true},
		ClientGone:              {502, Unknown, false},
	}
	for _, c := range All() {
		want, ok := tests[c]
		if !ok {
			t.Errorf("%s has no row", c)
		}
		if c.Status() != want.status || c.Fate() != want.fate || c.Hard() != want.hard {
			t.Errorf("%s: %d %s hard=%v, want %+v", c, c.Status(), c.Fate(), c.Hard(), want)
		}
	}
}
