package livetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// input is what a client asks of a cell.
type input struct {
	name string
	kind kind
	text string
}

type kind int

const (
	read kind = iota
	add
	write
)

// output is what it is told.
type output struct {
	count   int
	text    string
	unknown bool // it may have happened, then or later
}

// model is a cell as it should be: a counter and a register side by side.
var model = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byName := make(map[string][]porcupine.Operation)
		for _, op := range history {
			name := op.Input.(input).name
			byName[name] = append(byName[name], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range byName {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return output{} },
	Step: func(state, in, out any) (bool, any) {
		s, i, o := state.(output), in.(input), out.(output)
		switch i.kind {
		case add:
			s.count++
		case write:
			s.text = i.text
		}
		return o.unknown || o == s, s
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v -> %+v", in, out) },
}

// record is what clients write down.
type record struct {
	began time.Time

	mu      sync.Mutex
	history []porcupine.Operation // guarded by mu
	answers map[string][]answered // by cell, in the order of their times; guarded by mu
	counts  map[string]int        // guarded by mu
}

// answered is when a cell answered, and on which node it was.
type answered struct {
	at   time.Time
	node string
}

func newRecord() *record {
	return &record{began: time.Now(), answers: make(map[string][]answered), counts: make(map[string]int)}
}

// enter writes down one operation. What certainly did not happen is left out, and so are reads without an answer.
func (r *record) enter(client int, in input, out output, node string, call, ret time.Time, status string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[status]++
	if status == "no" || status == "unknown" && in.kind == read {
		return
	}
	op := porcupine.Operation{ClientId: client, Input: in, Output: out, Call: call.Sub(r.began).Nanoseconds(), Return: ret.Sub(r.began).Nanoseconds()}
	if status == "unknown" {
		op.Output, op.Return = output{unknown: true}, 1<<62
	} else {
		r.answers[in.name] = append(r.answers[in.name], answered{ret, node})
	}
	r.history = append(r.history, op)
}

// silence returns for how long at most a cell did not answer between two moments, and
// on which node it was at the first. ok is false if it did not answer before and after.
func (r *record) silence(name string, from, to time.Time) (longest time.Duration, node string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.answers[name]
	slices.SortFunc(all, func(a, b answered) int { return a.at.Compare(b.at) })
	i, _ := slices.BinarySearchFunc(all, from, func(a answered, t time.Time) int { return a.at.Compare(t) })
	if i == 0 || i == len(all) {
		return 0, "", false
	}
	for ; i < len(all) && all[i-1].at.Before(to); i++ {
		longest = max(longest, all[i].at.Sub(all[i-1].at))
		if node == "" {
			node = all[i-1].node
		}
	}
	return longest, node, true
}

// since reports whether each of the cells has answered after a moment.
func (r *record) since(names []string, at time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range names {
		if all := r.answers[name]; len(all) == 0 || !slices.ContainsFunc(all[max(len(all)-8, 0):], func(a answered) bool { return a.at.After(at) }) {
			return false
		}
	}
	return true
}

func (r *record) failures() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts["no"] + r.counts["unknown"]
}

// check fails the test if the history can't have been that of one cell after the other.
func (r *record) check(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	unknown := 0
	for _, part := range model.Partition(r.history) {
		for _, op := range part {
			if op.Output.(output).unknown {
				unknown++
			}
		}
		switch porcupine.CheckOperationsTimeout(model, part, 2*time.Minute) {
		case porcupine.Illegal:
			t.Errorf("the history of %s is not linearizable", part[0].Input.(input).name)
			slices.SortFunc(part, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
			for _, op := range part {
				t.Logf("%d %v..%v: %s", op.ClientId, time.Duration(op.Call), time.Duration(op.Return), model.DescribeOperation(op.Input, op.Output))
			}
		case porcupine.Unknown:
			t.Errorf("the history of %s, %d operations, could not be checked in two minutes", part[0].Input.(input).name, len(part))
		}
	}
	t.Logf("%d cells, %d operations in the history, of %d the outcome is unknown; clients were told: %v",
		len(r.answers), len(r.history), unknown, r.counts)
}

// client asks one node for one cell again and again until ctx ends. Which cell it is changes over time.
func client(ctx context.Context, number int, seed uint64, front, cell func() string, r *record) {
	rng := rand.New(rand.NewPCG(seed, uint64(number)))
	web := &http.Client{Timeout: 2 * lease, Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
	defer web.CloseIdleConnections()
	for n := 0; ctx.Err() == nil; n++ {
		in := input{name: cell(), kind: kind(rng.IntN(3))}
		if in.kind == write {
			in.text = fmt.Sprintf("%d-%d", number, n)
		}
		ask(context.Background(), web, number, front(), in, r)
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(15+rng.IntN(30)) * time.Millisecond):
		}
	}
}

// ask asks a node to do one operation, and writes down what came of it.
func ask(ctx context.Context, web *http.Client, number int, addr string, in input, r *record) bool {
	q := url.Values{"name": {in.name}}
	switch in.kind {
	case add:
		q.Set("add", "1")
	case write:
		q.Set("text", in.text)
	}
	call := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/?"+q.Encode(), nil)
	if err != nil {
		panic(err)
	}
	resp, err := web.Do(req)
	var dial *net.OpError
	if err != nil {
		status := "unknown"
		if errors.As(err, &dial) && dial.Op == "dial" {
			status = "no"
		}
		r.enter(number, in, output{}, "", call, time.Now(), status)
		return false
	}
	text, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	ret := time.Now()
	var out output
	var node string
	switch {
	case resp.StatusCode == http.StatusServiceUnavailable:
		r.enter(number, in, out, "", call, ret, "no")
	case err != nil || resp.StatusCode != http.StatusOK:
		r.enter(number, in, out, "", call, ret, "unknown")
	default:
		if _, err := fmt.Sscanf(string(text), "%d %q %s", &out.count, &out.text, &node); err != nil {
			panic(fmt.Sprintf("answer %q: %v", text, err))
		}
		r.enter(number, in, out, node, call, ret, "done")
		return true
	}
	return false
}
