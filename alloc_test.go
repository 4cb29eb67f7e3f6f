//go:build !race

package healthpool_test

import "testing"

// TestAllocations checks the budgets: the cost of a request must not depend on the number
// of upstreams.
func TestAllocations(t *testing.T) {
	const runs = 1000
	with, without := goodPath(t)
	page := testing.AllocsPerRun(runs, with)
	if cost := page - testing.AllocsPerRun(runs, without); cost > 3 {
		t.Errorf("the handler costs %v allocations on the good path, want at most 3", cost)
	}
	for _, size := range sizes {
		if cost := testing.AllocsPerRun(runs, selecting(t, size.total, size.up)) - page; cost > 4 {
			t.Errorf("%d of %d upstreams: choosing costs %v allocations, want at most 4", size.up, size.total, cost)
		}
	}
}
