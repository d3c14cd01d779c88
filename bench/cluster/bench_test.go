package cluster

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/perdure/perdure/store/pgstore/pgtest"
)

// settings are those of the measurements that the design was made on.
var settings = []string{"shared_buffers=512MB", "max_wal_size=4GB"}

// objects is how many objects the benchmarks use.
const objects = 256

// nodes starts n nodes on a new database and returns when each holds its part of the
// shards; owners says on which node each object is.
func nodes(b *testing.B, server *pgtest.Server, n int) (all []*process, owners []string) {
	dsn := server.Database(b)
	all = make([]*process, n)
	for i := range all {
		all[i] = start(b, dsn)
	}
	return all, settle(b, all)
}

// settle returns when objects are on all nodes, and where they are is the same several times on end.
func settle(b *testing.B, all []*process) []string {
	var last []string
	for same, until := 0, time.Now().Add(time.Minute); same < 4; same++ {
		var at []string
		for i := range objects {
			at = append(at, all[i%len(all)].ask(b, "/where", url.Values{"i": {strconv.Itoa(i)}}))
		}
		used := slices.Compact(slices.Sorted(slices.Values(at)))
		if len(used) != len(all) || !slices.Equal(at, last) {
			same = 0
		}
		if last = at; b.Failed() || time.Now().After(until) {
			b.Fatalf("the nodes do not settle: objects are on %q", used)
		}
		time.Sleep(250 * time.Millisecond)
	}
	return last
}

// BenchmarkIncrements has clients, spread over the nodes, increment an object of their own
// each: of the objects on their node (owner), or of any (any), so that of n nodes' calls all
// but one in n go to another node. Beside it, taking turns: a grouped statement for the
// same number of clients and nothing else (what PostgreSQL can do at best), and one
// transaction for each increment.
func BenchmarkIncrements(b *testing.B) {
	server := pgtest.New(b, settings...)
	for _, n := range []int{1, 2, 3} {
		all, owners := nodes(b, server, n)
		for _, clients := range []int{64, 256} {
			for _, at := range []string{"owner", "any"} {
				if n > 1 || at == "owner" {
					b.Run(fmt.Sprintf("nodes=%d/clients=%d/at=%s", n, clients, at), func(b *testing.B) {
						increments(b, server, all, share(all, owners[:clients], at == "owner"), clients)
					})
				}
			}
		}
		for _, p := range all {
			p.leave(b)
		}
	}
}

// share gives each node its part of the objects.
func share(all []*process, owners []string, own bool) [][]int {
	parts := make([][]int, len(all))
	for i, owner := range owners {
		at := i % len(all)
		if own {
			at = slices.IndexFunc(all, func(p *process) bool { return p.name == owner })
		}
		parts[at] = append(parts[at], i)
	}
	return parts
}

const (
	turns = 5
	turn  = time.Second
)

func increments(b *testing.B, server *pgtest.Server, all []*process, parts [][]int, clients int) {
	floor := newFloor(b, server)
	ours := func() (total float64) {
		done := make([]float64, len(all))
		var wg sync.WaitGroup
		for i, p := range all {
			wg.Go(func() { done[i] = p.run(b, load{parts[i], turn}) })
		}
		wg.Wait()
		for _, n := range done {
			total += n
		}
		return total / turn.Seconds()
	}
	ways := []struct {
		unit string
		rate func() float64
		got  []float64
	}{
		{unit: "increments/s", rate: ours},
		{unit: "raw-grouped/s", rate: func() float64 { return floor.grouped(b, clients) }},
		{unit: "transactions/s", rate: func() float64 { return floor.single(b, clients) }},
	}
	var shares []float64
	for round := range turns + 1 {
		for i := range ways {
			rate := ways[i].rate()
			if round > 0 { // at first tables and caches are cold
				ways[i].got = append(ways[i].got, rate)
			}
		}
		if round > 0 {
			shares = append(shares, 100*ways[0].got[round-1]/ways[1].got[round-1])
		}
	}
	for _, way := range ways {
		b.ReportMetric(median(way.got), way.unit)
	}
	b.ReportMetric(median(shares), "%share")
	b.ReportMetric(0, "ns/op")
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

// BenchmarkForward calls a method that writes nothing, from the object's own node and
// from another: what a forwarded call costs more.
func BenchmarkForward(b *testing.B) {
	const calls = 2000
	all, owners := nodes(b, pgtest.New(b, settings...), 2)
	own := slices.IndexFunc(all, func(p *process) bool { return p.name == owners[0] })
	form := url.Values{"i": {"0"}, "n": {strconv.Itoa(calls)}}
	var here, there []float64
	for range turns {
		here = append(here, all[own].number(b, "/time", form))
		there = append(there, all[1-own].number(b, "/time", form))
	}
	b.ReportMetric(median(here)/1000, "µs-here")
	b.ReportMetric(median(there)/1000, "µs-forwarded")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkDrain ends one of three nodes while 64 clients of the other two go on, none of
// whom may see an error, and measures how long its 341 or so of 1,024 shards take.
func BenchmarkDrain(b *testing.B) {
	all, owners := nodes(b, pgtest.New(b, settings...), 3)
	var wg sync.WaitGroup
	for i, part := range share(all[:2], owners[:64], false) {
		wg.Go(func() { all[i].run(b, load{part, 10 * time.Second}) })
	}
	time.Sleep(time.Second)
	took := all[2].leave(b)
	wg.Wait()
	b.ReportMetric(float64(took.Milliseconds()), "ms-to-leave")
	b.ReportMetric(0, "ns/op")
}
