package diagnose

import (
	"strings"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// verdict is what there is to say about an address, in a sentence or two each.
type verdict struct {
	// ok is whether requests get through.
	ok bool
	// cause is the problem in the words of status and logs. It is empty if there is none,
	// and for an address that cannot be read.
	cause cause.Cause
	// finding is what is wrong, or that nothing is.
	finding string
	// advice is what to do; empty if there is nothing to do.
	advice string
}

// problem returns a verdict with this finding and the advice for its cause. The first
// sentence of that advice is left out: the finding says the same more exactly.
func problem(c cause.Cause, finding string) *verdict {
	if c == cause.ProxyInternalError {
		return &verdict{cause: c, finding: finding, advice: "The reason is on this side: is there a permission missing, or are too many files open?"}
	}
	_, advice, found := strings.Cut(c.Advice(), ". ")
	if !found {
		advice = c.Advice()
	}
	return &verdict{cause: c, finding: finding, advice: advice}
}

// addressProblem is the verdict on an address that cannot be read.
func addressProblem(finding, advice string) *verdict {
	return &verdict{finding: finding, advice: advice}
}
