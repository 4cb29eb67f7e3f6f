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
	// sourceTimeout is how long one reading of a source may take.
	sourceTimeout = 5 * time.Second
	// sourceRetry is when a source that failed is read again.
	sourceRetry = time.Second
)

// Source lists upstreams that come and go.
type Source struct {
	// Name is for the log, Key a digest of how the source is configured.
	Name, Key string
	// Read asks the source. It should return soon after ctx is done.
	Read func(ctx context.Context) ([]Listing, error)
	// Enlist makes a member of what is listed; an error refuses it.
	NewMember func(Listing) (Member, error)

	// latest is the latest good list, which all pools with this source share.
	latest *atomic.Pointer[[]Listing]
	// refused is what the owner was told last of what is nonsense in it.
	refused string
}

// Listing is an upstream that a source lists.
type Listing struct {
	Address     string
	MaxRequests int
}

// lists has the latest good list of every source in use, across reloads: a name
// server that is down must not take the site with it.
var lastLists = caddy.NewUsagePool()

// recall returns what was listed last, nil if nothing ever was.
func (s *Source) restore() []Member {
	l, _ := lastLists.LoadOrStore(s.Key, new(atomic.Pointer[[]Listing]))
	s.latest = l.(*atomic.Pointer[[]Listing])
	if last := s.latest.Load(); last != nil {
		members, _ := s.members(*last) // what was refused then was told then
		return members
	}
	return nil
}

// forget takes recall back.
func (s Source) release() { _, _ = lastLists.Delete(s.Key) }

// members makes members of a list. What is nonsense in it is left out, and the
// error says so.
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

// inShort is the first of some errors, and how many more there are: whoever made the
// list would else choose how much is logged of it.
func summary(errs []error) error {
	if len(errs) < 2 {
		return errors.Join(errs...)
	}
	return fmt.Errorf("%w; and %d more", errs[0], len(errs)-1)
}

// unread reports whether a source has not been read yet. Caller must hold p.mu.
func (p *Pool) hasUnreadSource() bool {
	for i := range p.listed {
		if p.listed[i] == nil {
			return true
		}
	}
	return false
}

// follow reads the source i until ctx is done. A reading that fails changes nothing.
// The owner is told when a source turns bad, in another way than before, and when it is
// good again: by the cause, because the texts of errors may differ each time.
func (p *Pool) watchSource(ctx context.Context, i int) {
	r := reader{Source: p.Sources[i]}
	defer r.abandon()
	var told cause.Cause
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
		if c := cause.Of(err); c != told {
			told = c
			p.reportSource(r.Name, err)
		}
		pause(ctx, jittered(wait))
	}
}

// unreadable notes that the source i failed: if nobody knows what it listed, this is
// an outage like any other.
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

// list takes in what the source i lists now, but for what is nonsense in it.
func (p *Pool) setListed(i int, setListed []Listing) error {
	source := &p.Sources[i]
	members, refused := source.members(setListed)
	if len(members) == 0 && refused != nil {
		return refused // better what it said before
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

// reader reads one source, one reading at a time, even if it does not come back.
type reader struct {
	Source
	result chan readResult // nil while no reading is under way
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

// ask has the source's own code run, which may panic.
func (r *reader) readSource(ctx context.Context, answers chan<- readResult) {
	defer func() {
		if p := recover(); p != nil {
			answers <- readResult{err: fmt.Errorf("panic: %v", p)}
		}
	}()
	list, err := r.Read(ctx)
	answers <- readResult{list, err}
}

// abandon gives a reading under way the time to notice that nobody waits for it
// any more. One that does not is left behind: nothing can end it, and a reload
// must not wait for it.
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
