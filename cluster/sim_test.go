package cluster

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	simSeed  = flag.Uint64("sim.seed", 0, "run the simulation with this seed alone, and show what happens")
	simSeeds = flag.Int("sim.seeds", 20_000, "how many seeds to run the simulation with; a tenth of it with -short")
)

func newWorld(seed uint64, broken defect) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 1)), broken: broken, ttl: time.Second, rho: 0.05}
	w.lossRate, w.lateRate = 0.1*w.rng.Float64(), 0.1*w.rng.Float64()
	w.renewEvery = w.between(w.ttl/5, w.ttl*2/5)
	shards := 2 + w.rng.IntN(5)
	w.db = simTable{w: w, shards: make([]simShard, shards)}
	for i := range w.db.shards {
		w.db.shards[i].Shard = uint32(i)
	}
	w.acked, w.served = make([]int, shards), make([]int64, shards)
	for i := range 2 + w.rng.IntN(3) {
		n := &simNode{w: w, name: fmt.Sprintf("node%d:1", i), rate: 1}
		n.wall = w.between(0, 100*w.ttl)
		w.nodes = append(w.nodes, n)
	}
	return w
}

// simulate runs one seed and returns what went wrong.
func simulate(w *world) string {
	for _, n := range w.nodes {
		w.after(w.between(0, w.ttl), func() {
			if !n.up {
				n.start()
			}
		})
	}
	w.client()
	w.fault()
	if w.run(w.between(8*w.ttl, 20*w.ttl)) && !w.lenient {
		w.calmDown()
	}
	return w.failed
}

// calmDown ends all faults and watches the cluster come to rest: every shard is
// owned within a bound, nothing moves then, and a change of members moves what it must.
func (w *world) calmDown() {
	w.calm = true
	w.lossRate, w.lateRate, w.outage = 0, 0, 0
	for _, n := range w.nodes {
		if n.up && (n.core.draining || n.core.leaving) {
			n.crash()
		}
	}
	up := slices.ContainsFunc(w.nodes, func(n *simNode) bool { return n.up })
	for _, n := range w.nodes {
		if !n.up && (!up || w.chance(0.7)) {
			n.start()
			up = true
		}
	}
	// What is stopped goes on within 3 leases, what is late has arrived within 4.
	w.run(w.now + 4*w.ttl)
	w.reach("4 leases after the last fault", 2*w.ttl)
	w.rest()
	w.change()
}

// reach runs until every shard is served where it should be.
func (w *world) reach(when string, bound time.Duration) {
	for end := w.now + bound; w.failed == "" && !w.settled(); {
		if w.now >= end {
			w.fail(fmt.Sprintf("%s and %v later not every shard is owned by the node that should", when, bound))
		}
		w.run(w.now + w.ttl/20)
	}
}

func (w *world) rest() {
	before := w.epochs()
	w.run(w.now + 3*w.ttl)
	if w.epochs() != before {
		w.fail("shards move although nothing happens")
	}
}

// change lets a node come, go or die, and checks that only those shards moved that had to.
func (w *world) change() {
	if w.failed != "" {
		return
	}
	before := make([]*simNode, len(w.db.shards))
	epochs := make([]int64, len(w.db.shards))
	for i := range w.db.shards {
		before[i], epochs[i] = w.server(i), w.db.shards[i].Epoch
	}
	down := slices.IndexFunc(w.nodes, func(n *simNode) bool { return !n.up })
	running := slices.DeleteFunc(slices.Clone(w.nodes), func(n *simNode) bool { return !n.up })
	bound := w.ttl
	switch k := w.rng.IntN(4); {
	case k == 0 && down >= 0 || len(running) < 2:
		if down < 0 {
			return
		}
		w.nodes[down].start()
	case k == 1:
		running[0].crash()
		bound = 3 * w.ttl
	case k == 2:
		running[0].step(Drain{})
	default:
		running[0].step(Leave{})
	}
	w.reach("after a change of members", bound)
	w.run(w.now + w.ttl)
	for i, s := range w.db.shards {
		if after := w.server(i); w.failed == "" && after == before[i] && s.Epoch != epochs[i] {
			w.fail(fmt.Sprintf("shard %d stays with %s, but its epoch went from %d to %d", i, after.name, epochs[i], s.Epoch))
		}
	}
}

// search runs seeds on all processors until one fails.
func search(seeds int, run func(seed uint64) string) (seed uint64, failed string) {
	var next, done atomic.Uint64
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for s := next.Add(1); s <= uint64(seeds) && done.Load() == 0; s = next.Add(1) {
				what := run(s)
				if what == "" {
					continue
				}
				done.Store(1)
				mu.Lock()
				if failed == "" || s < seed {
					seed, failed = s, what
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return seed, failed
}

func TestSimulation(t *testing.T) {
	if *simSeed != 0 {
		w := newWorld(*simSeed, nothing)
		w.verbose = true
		failed := simulate(w)
		t.Logf("seed %d, %d events, %d answers\n%s", *simSeed, w.count, w.answers, strings.Join(w.trace, "\n"))
		if failed != "" {
			t.Error(failed)
		}
		return
	}
	seeds := *simSeeds
	if testing.Short() {
		seeds /= 10
	}
	var answers, events atomic.Int64
	seed, failed := search(seeds, func(seed uint64) string {
		w := newWorld(seed, nothing)
		failed := simulate(w)
		answers.Add(int64(w.answers))
		events.Add(w.count)
		return failed
	})
	if failed != "" {
		t.Fatalf("%s\nagain: go test ./cluster -run 'TestSimulation$' -sim.seed %d -v", failed, seed)
	}
	t.Logf("%d seeds, %d events, %d answers to clients", seeds, events.Load(), answers.Load())
}

// TestSimulationCatches shows that the simulation has teeth: each way of building
// the protocol wrongly is found out.
func TestSimulationCatches(t *testing.T) {
	for d := nothing + 1; int(d) <= len(defects); d++ {
		t.Run(defects[d], func(t *testing.T) {
			seed, failed := search(3000, func(seed uint64) string { return simulate(newWorld(seed, d)) })
			if failed == "" {
				t.Fatal("3000 seeds did not show it")
			}
			t.Logf("seed %d: %s", seed, failed)
		})
	}
}

// TestSimulationStrict gives the nodes clocks that nobody could trust. Asking the
// database before each answer keeps answers right, and nothing less does.
func TestSimulationStrict(t *testing.T) {
	wild := func(strict bool) func(seed uint64) string {
		return func(seed uint64) string {
			w := newWorld(seed, nothing)
			w.rho, w.strict, w.lenient = 0.7, strict, true
			return simulate(w)
		}
	}
	seeds := 2000
	if testing.Short() {
		seeds /= 10
	}
	if seed, failed := search(seeds, wild(true)); failed != "" {
		t.Errorf("strict, seed %d: %s", seed, failed)
	}
	seed, failed := search(2000, wild(false))
	if failed == "" {
		t.Fatal("without asking, 2000 seeds did not show a stale read")
	}
	t.Logf("not strict, seed %d: %s", seed, failed)
}
