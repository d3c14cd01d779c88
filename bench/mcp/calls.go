package main

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"
)

// question is a call of a tool that is measured.
type question struct {
	server    string
	era       string
	tool      string
	what      string
	arguments func(handle string) string
}

func none(string) string { return "{}" }

var questions = []question{
	{"bare", newEra, "empty", "an empty tool", none},
	{"own", newEra, "listCalendars", "listCalendars", func(handle string) string { return `{"sessionId":"` + handle + `"}` }},
	{"own", newEra, "listEvents", "listEvents, a day with 10", func(handle string) string {
		return `{"start":"2026-01-05","end":"2026-01-05","sessionId":"` + handle + `"}`
	}},
	{"bare", oldEra, "empty", "an empty tool", none},
	{"own", oldEra, "listCalendars", "listCalendars", none},
	{"own", oldEra, "listEvents", "listEvents, a day with 10", func(string) string { return `{"start":"2026-01-05","end":"2026-01-05"}` }},
}

// sample is what one measurement has found.
type sample struct {
	rate     float64 // calls a second
	p50, p99 time.Duration
}

var handles = regexp.MustCompile(`"sessionId":"([^"]+)"`)

// calls measures tools called by several clients at once.
func (b *bench) calls(ctx context.Context) error {
	servers := make(map[string]*process)
	for _, kind := range []string{"bare", "own"} {
		p, err := b.start(ctx, kind, filepath.Join(b.dir))
		if err != nil {
			return err
		}
		defer p.kill()
		servers[kind] = p
	}
	fmt.Fprintf(b.out, "\n| Era | Server | Call | Clients | Calls a second | p50 | p99 |\n| --- | --- | --- | ---: | ---: | ---: | ---: |\n")
	for _, n := range b.clients {
		samples := make([][]sample, len(questions))
		clients := make([][]*client, len(questions))
		arguments := make([][]string, len(questions))
		for i, q := range questions {
			for j := range n {
				c, err := servers[q.server].connect(ctx, q.era, j)
				if err != nil {
					return err
				}
				handle := ""
				if q.server == "own" { // the calendar is read now, and the handle made
					data, err := c.tool(ctx, "listCalendars", "{}")
					if err != nil {
						return err
					}
					if m := handles.FindSubmatch(data); m != nil {
						handle = string(m[1])
					}
				}
				clients[i] = append(clients[i], c)
				arguments[i] = append(arguments[i], q.arguments(handle))
			}
		}
		for round := range b.rounds + 1 {
			for i, q := range questions {
				s, err := b.measure(ctx, clients[i], func(c *client, j int) error {
					_, err := c.tool(ctx, q.tool, arguments[i][j])
					return err
				})
				if err != nil {
					return fmt.Errorf("%s of %s: %w", q.tool, q.server, err)
				}
				if round > 0 {
					samples[i] = append(samples[i], s)
				}
			}
		}
		for i, q := range questions {
			m := median(samples[i])
			server := map[string]string{"own": "perdure", "bare": "bare SDK"}[q.server]
			fmt.Fprintf(b.out, "| %s | %s | %s | %d | %.0f | %s | %s |\n", q.era, server, q.what, n, m.rate, milliseconds(m.p50), milliseconds(m.p99))
		}
	}
	return nil
}

// measure has all clients call for a while.
func (b *bench) measure(ctx context.Context, clients []*client, call func(c *client, j int) error) (sample, error) {
	var mu sync.Mutex
	var times []time.Duration
	var failed error
	begin := time.Now()
	var wg sync.WaitGroup
	for j, c := range clients {
		wg.Go(func() {
			var own []time.Duration
			var err error
			for err == nil && time.Since(begin) < b.length && ctx.Err() == nil {
				at := time.Now()
				err = call(c, j)
				own = append(own, time.Since(at))
			}
			mu.Lock()
			defer mu.Unlock()
			times = append(times, own...)
			if err != nil {
				failed = err
			}
		})
	}
	wg.Wait()
	took := time.Since(begin)
	if failed == nil {
		failed = ctx.Err()
	}
	if failed != nil {
		return sample{}, failed
	}
	slices.Sort(times)
	return sample{float64(len(times)) / took.Seconds(), times[len(times)/2], times[len(times)*99/100]}, nil
}

// median takes each figure's.
func median(all []sample) (m sample) {
	mid := func(f func(sample) float64) float64 {
		v := make([]float64, len(all))
		for i, s := range all {
			v[i] = f(s)
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	m.rate = mid(func(s sample) float64 { return s.rate })
	m.p50 = time.Duration(mid(func(s sample) float64 { return float64(s.p50) }))
	m.p99 = time.Duration(mid(func(s sample) float64 { return float64(s.p99) }))
	return m
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.3g ms", float64(d)/1e6) }
