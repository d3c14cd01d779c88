package pgstore

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/pgstore/pgtest"
)

// Three nodes take each other's shards, with and without being asked, while all of them
// count in the same objects and their connections break. Whoever was told that a number
// is durable finds it counted, and nobody's deadlock helps.
func TestFight(t *testing.T) {
	const (
		nodes   = 3
		shards  = 16
		objects = 48
	)
	takeOvers := 120
	if testing.Short() {
		takeOvers = 40
	}
	server := pgtest.Shared(t)
	name := server.NewDatabase(t)
	var acked, unknown, refused [objects]atomic.Int64
	var stores [nodes]*testStore
	// A node's runtime forgets what it has read of a shard that it loses: between the
	// reading and the writing of a number the node's hold does not change.
	var turn [nodes]sync.RWMutex
	for i := range stores {
		stores[i] = joinStore(t, Options{Lease: 20 * time.Second, Patience: 2 * time.Second, Shards: shards, Committers: 1 + i}, server, name)
	}
	object := func(n int) store.Object { return stores[0].in(uint32(n%shards), n/shards) }
	all := make([]store.Object, objects)
	for n := range all {
		all[n] = object(n)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i, s := range stores {
		for n, o := range all {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					turn[i].RLock()
					if _, held := s.Held(s.ShardOf(o)); !held {
						turn[i].RUnlock()
						// Somebody has it, and will not have it for ever.
						select {
						case <-stop:
							return
						case <-time.After(time.Millisecond):
						}
						continue
					}
					l, err := s.Load(ctx, o)
					if err != nil {
						turn[i].RUnlock()
						continue
					}
					next := &store.Header{Size: 1}
					if l.Header != nil {
						next.Size = l.Header.Size + 1
					}
					c := s.Apply(&store.Batch{Object: o, Prev: l.Header, Header: next})
					turn[i].RUnlock()
					switch err := c.Wait(); {
					case err == nil:
						acked[n].Add(1)
					case errors.Is(err, store.ErrUnknown):
						unknown[n].Add(1)
					case errors.Is(err, store.ErrRefused):
						refused[n].Add(1)
					default:
						t.Errorf("Wait() = %v", err)
					}
				}
			})
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range takeOvers {
		i := r.IntN(nodes)
		s := stores[i]
		v, err := s.d().ReadMap(ctx)
		if err != nil {
			continue // cut off
		}
		expect := map[uint32]int64{}
		for _, st := range v.Shards {
			if r.IntN(2) == 0 {
				expect[st.Shard] = st.Epoch
			}
		}
		for j, other := range stores {
			if j != i && r.IntN(2) == 0 {
				s.d().EndNode(ctx, other.node, -1) // it is not told
			}
		}
		taken, err := s.d().TakeOver(ctx, s.node, expect)
		if err == nil {
			turn[i].Lock()
			for n, epoch := range taken {
				s.Hold(n, epoch)
			}
			turn[i].Unlock()
		}
		switch r.IntN(6) {
		case 0:
			s.proxy.Cut()
			s.proxy.Heal()
		case 1: // a node that was ended comes back as another
			if n, err := s.d().Register(ctx, "again", "", nil); err == nil {
				s.node = n.ID
			}
		case 2:
			held := map[uint32]int64{}
			for n := range uint32(shards) {
				if epoch, ok := s.Held(n); ok && r.IntN(4) == 0 {
					held[n] = epoch
					s.Release(n)
				}
			}
			s.d().ReleaseShards(ctx, s.node, held)
		}
	}
	close(stop)
	wg.Wait()
	var sums [3]int64
	for n, o := range all {
		l, err := stores[0].Load(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		var got int64
		if l.Header != nil {
			got = l.Header.Size
		}
		a, u := acked[n].Load(), unknown[n].Load()
		if got < a || got > a+u {
			t.Errorf("object %d is at %d, but %d were acknowledged and %d are unknown", n, got, a, u)
		}
		sums[0], sums[1], sums[2] = sums[0]+a, sums[1]+u, sums[2]+refused[n].Load()
	}
	for i, s := range stores {
		if b, n := s.d().pending.batches.Load(), s.d().pending.bytes.Load(); b != 0 || n != 0 {
			t.Errorf("store %d believes that %d batches with %d bytes are pending", i, b, n)
		}
	}
	t.Logf("%d acknowledged, %d unknown, %d refused", sums[0], sums[1], sums[2])
	if sums[0] < objects || sums[2] == 0 {
		t.Error("there was no fight")
	}
	if log := server.Log(); strings.Contains(log, "deadlock detected") {
		t.Error("there were deadlocks")
	}
}
