package cluster

import (
	"encoding/json"
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

// nodes starts n nodes on a new database and returns when each holds its part of the shards.
func nodes(b *testing.B, server *pgtest.Server, n int) []*process {
	dsn := server.Database(b)
	all := make([]*process, n)
	for i := range all {
		all[i] = start(b, dsn)
	}
	settle(b, all)
	return all
}

// settle returns when objects are on all nodes, and where they are is the same several times on end.
func settle(b *testing.B, all []*process) {
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
}

// BenchmarkIncrements has clients, spread over the nodes, increment an object of their own
// each. Objects are where their shard is, so that of n nodes' calls all but one in n go to
// another node. Beside it, taking turns: a grouped statement for the same number of
// clients and nothing else (what PostgreSQL can do at best), and one transaction for
// each increment.
func BenchmarkIncrements(b *testing.B) {
	server := pgtest.New(b, settings...)
	for _, n := range []int{1, 2, 3} {
		for _, clients := range []int{64, 256} {
			b.Run(fmt.Sprintf("nodes=%d/clients=%d", n, clients), func(b *testing.B) { increments(b, server, n, clients) })
		}
	}
}

const (
	turns = 5
	turn  = time.Second
)

func increments(b *testing.B, server *pgtest.Server, n, clients int) {
	all := nodes(b, server, n)
	floor := newFloor(b, server)
	ours := func() (total float64) {
		parts := make([]float64, n)
		var wg sync.WaitGroup
		for i, p := range all {
			first, end := clients*i/n, clients*(i+1)/n
			wg.Go(func() {
				order, _ := json.Marshal(load{First: first, Clients: end - first, Time: turn})
				parts[i] = p.number(b, "/load", url.Values{"order": {string(order)}})
			})
		}
		wg.Wait()
		for _, part := range parts {
			total += part
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
	all := nodes(b, pgtest.New(b, settings...), 2)
	at := all[0].ask(b, "/where", url.Values{"i": {"0"}})
	own := slices.IndexFunc(all, func(p *process) bool { return p.name == at })
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
	all := nodes(b, pgtest.New(b, settings...), 3)
	var wg sync.WaitGroup
	for i, p := range all[:2] {
		wg.Go(func() {
			order, _ := json.Marshal(load{First: 32 * i, Clients: 32, Time: 10 * time.Second})
			p.number(b, "/load", url.Values{"order": {string(order)}})
		})
	}
	time.Sleep(time.Second)
	took := all[2].leave(b)
	wg.Wait()
	b.ReportMetric(float64(took.Milliseconds()), "ms-to-leave")
	b.ReportMetric(0, "ns/op")
}
