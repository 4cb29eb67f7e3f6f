package pool

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

const (
	// sourceTimeout bounds one read of a source.
	sourceTimeout = 5 * time.Second
	// sourceRetry is when a failed source is read again.
	sourceRetry = time.Second
)

// Source lists upstreams that change over time.
type Source struct {
	// Name is for the log; Key is a digest of the configuration.
	Name, Key string
	// Read reads the list. It should return soon after ctx is done.
	Read func(ctx context.Context) ([]Listing, error)
	// NewMember builds a member from a listing; an error refuses the listing.
	NewMember func(Listing) (Member, error)

	// latest is the last good list, shared by all pools with this source.
	latest *atomic.Pointer[[]Listing]
	// refused is the last error that was reported about invalid listings.
	refused string
}

// Listing is an upstream that a source lists.
type Listing struct {
	Address     string
	MaxRequests int
}

// lastLists has the last good list of every source in use, across reloads: a failing name
// server must not take the site down.
var lastLists = caddy.NewUsagePool()

// restore returns the members of the last good list, or nil if there is none.
func (s *Source) restore() []Member {
	l, _ := lastLists.LoadOrStore(s.Key, new(atomic.Pointer[[]Listing]))
	s.latest = l.(*atomic.Pointer[[]Listing])
	if last := s.latest.Load(); last != nil {
		members, _ := s.members(*last) // invalid listings were reported when the list was read
		return members
	}
	return nil
}

// release undoes restore.
func (s Source) release() { _, _ = lastLists.Delete(s.Key) }

// members builds the members of a list. Invalid listings are left out and returned as an
// error.
func (s Source) members(list []Listing) ([]Member, error) {
	members := make([]Member, 0, len(list))
	var errs []error
	for _, l := range list {
		m, err := s.NewMember(l)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		members = append(members, m)
	}
	return members, summary(errs)
}

// summary returns the first error and the number of others: otherwise whoever controls the
// list would decide how much is logged.
func summary(errs []error) error {
	if len(errs) < 2 {
		return errors.Join(errs...)
	}
	return fmt.Errorf("%w; and %d more", errs[0], len(errs)-1)
}

// hasUnreadSource reports whether a source has not been read yet. Caller must hold p.mu.
func (p *Pool) hasUnreadSource() bool {
	for i := range p.listed {
		if p.listed[i] == nil {
			return true
		}
	}
	return false
}

// watchSource reads the source i until ctx is done. A failed read changes nothing. Failures
// are reported when their cause changes (error texts may differ each time), and when the
// source works again.
func (p *Pool) watchSource(ctx context.Context, i int) {
	r := reader{Source: p.Sources[i]}
	defer r.abandon()
	var reported cause.Cause
	for {
		list, err := r.read(ctx)
		if err == nil {
			err = p.setListed(i, list)
		}
		if ctx.Err() != nil {
			return
		}
		wait := p.Refresh
		if err != nil {
			p.sourceFailed(i)
			wait = min(wait, sourceRetry)
		}
		if c := cause.Of(err); c != reported {
			reported = c
			p.reportSource(r.Name, err)
		}
		pause(ctx, jittered(wait))
	}
}

// sourceFailed records that the source i failed. If it was never read, its upstreams are
// unknown, so this is an outage like any other.
func (p *Pool) sourceFailed(i int) {
	p.mu.Lock()
	first := p.listed[i] == nil
	if first {
		p.listed[i] = []Member{}
	}
	p.mu.Unlock()
	if first {
		p.reportState(p.refreshNow())
	}
}

// setListed sets what the source i lists, without invalid listings.
func (p *Pool) setListed(i int, setListed []Listing) error {
	source := &p.Sources[i]
	members, refused := source.members(setListed)
	if len(members) == 0 && refused != nil {
		return refused // keep the last good list
	}
	source.latest.Store(&setListed)
	p.mu.Lock()
	p.listed[i] = members
	p.mu.Unlock()
	p.syncMembers(time.Now())
	p.reportState(p.refreshNow())
	p.reportRefused(source, refused)
	return nil
}

// reader reads one source, one read at a time, even if a read never returns.
type reader struct {
	Source
	result chan readResult // nil if no read is in progress
}

type readResult struct {
	list []Listing
	err  error
}

var errNoAnswer = errors.New("it does not answer")

func (r *reader) read(ctx context.Context) ([]Listing, error) {
	if r.result == nil {
		r.result = make(chan readResult, 1)
		go r.readSource(ctx, r.result)
	}
	timer := time.NewTimer(sourceTimeout)
	defer timer.Stop()
	select {
	case a := <-r.result:
		r.result = nil
		return a.list, a.err
	case <-timer.C:
		return nil, errNoAnswer
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// readSource runs the source's own code, which may panic.
func (r *reader) readSource(ctx context.Context, answers chan<- readResult) {
	defer func() {
		if p := recover(); p != nil {
			answers <- readResult{err: fmt.Errorf("panic: %v", p)}
		}
	}()
	list, err := r.Read(ctx)
	answers <- readResult{list, err}
}

// abandon gives a read in progress some time to notice that it was canceled. One that does
// not is left running: nothing can end it, and a reload must not wait for it.
func (r *reader) abandon() {
	if r.result == nil {
		return
	}
	timer := time.NewTimer(sourceRetry)
	defer timer.Stop()
	select {
	case <-r.result:
	case <-timer.C:
	}
}
