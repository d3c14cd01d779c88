package cluster

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/pgstore"
)

// Alone is the [durable.Placement] of a process that holds a standalone store: everything
// lives here, as long as the leases on its databases run. While one does not, as after a
// pause, nothing leaves the objects in that database: another process may have taken
// them over. The next renewal tells; if it was so the store is broken.
type Alone struct {
	clocks func() Reading
	store  *pgstore.Store
	term   time.Duration // for how long a renewal is good
	holds  []*hold       // of the databases

	mu    sync.Mutex
	clock elapsed // guarded by mu
}

var _ durable.Placement = (*Alone)(nil)

// hold is the lease on one database.
type hold struct {
	a     *Alone
	index int
	place durable.Place
	last  atomic.Pointer[renewal] // nil: there has been none
}

// renewal is one that has succeeded.
type renewal struct {
	sent  time.Duration // when it was begun
	clock elapsed
}

// OpenAlone opens a store as [pgstore.Open] does with Standalone, which may be left out of
// opts, and returns the placement for its runtime.
func OpenAlone(ctx context.Context, databases []string, opts *pgstore.Options) (*pgstore.Store, *Alone, error) {
	return openAlone(ctx, databases, opts, readClocks)
}

func openAlone(ctx context.Context, databases []string, opts *pgstore.Options, clocks func() Reading) (*pgstore.Store, *Alone, error) {
	var o pgstore.Options
	if opts != nil {
		o = *opts
	}
	a := newAlone(len(databases), clocks)
	o.Standalone, o.Renewing = true, a.renewing
	s, err := pgstore.Open(ctx, databases, &o)
	if err != nil {
		return nil, nil, err
	}
	a.store, a.term = s, s.Lease()-s.Lease()/10 // the margin of a node
	return s, a, nil
}

func newAlone(databases int, clocks func() Reading) *Alone {
	a := &Alone{clocks: clocks, clock: elapsed{last: clocks()}}
	for i := range databases {
		h := &hold{a: a, index: i}
		h.place.Lease = h
		a.holds = append(a.holds, h)
	}
	return a
}

// renewing is called before a renewal is sent, and what it returns when that has succeeded.
func (a *Alone) renewing(database int) (renewed func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	sent := a.clock.advance(a.clocks())
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.clock.advance(a.clocks())
		a.holds[database].last.Store(&renewal{sent, a.clock})
	}
}

// Check implements [durable.Lease].
func (h *hold) Check(context.Context) error {
	if r := h.last.Load(); r != nil && r.clock.at(h.a.clocks())-r.sent < h.a.term {
		return nil
	}
	return fmt.Errorf("%w: the lease on database %d has not been renewed for %v, another process may have it", durable.ErrNotOwner, h.index, h.a.term)
}

// Locate implements [durable.Placement].
func (a *Alone) Locate(_ context.Context, o store.Object) (*durable.Place, error) {
	return &a.holds[a.store.DatabaseOf(a.store.ShardOf(o)).Index()].place, nil
}

// Missed implements [durable.Placement]: there is no other node.
func (a *Alone) Missed(store.Object, *durable.Place, error) {}

// Shards implements [durable.Placement].
func (a *Alone) Shards() ([]uint32, <-chan struct{}) { return nil, nil }
