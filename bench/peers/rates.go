package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/perdure/perdure/bench/internal/report"
)

// turn is one server's load in one round.
type turn struct {
	result
	cpu time.Duration // of the server
}

// perAnswer is the processor time that the server spent on one answer.
func (t turn) perAnswer() time.Duration { return t.cpu / time.Duration(max(t.answers, 1)) }

// measure is one row: a load on each of some servers.
type measure struct {
	name    string
	clients int
	servers []*server
	request func(s *server, client, turn int) []byte
	counts  bool // each answer is an increment
}

// rates measures the servers' answers per second.
func (b *bench) rates(ctx context.Context) error {
	servers := []*server{b.bare, b.objects}
	servers = append(servers, b.workerds...)
	withStorage := servers[1:]
	incrementing := append(slices.Clip(withStorage), b.bolts...)
	hot := func(operation string) func(*server, int, int) []byte {
		return func(s *server, _, _ int) []byte { return s.request(operation, "hot") }
	}
	own := func(s *server, client, _ int) []byte { return s.request("inc", fmt.Sprint("own", client)) }
	list := []measure{
		{"an answer without storage, one object", 16, servers, hot("noop"), false},
		{"a get, one object", 16, withStorage, hot("get"), false},
	}
	for _, clients := range b.owners {
		list = append(list, measure{"an increment, an object each", clients, incrementing, own, true})
	}
	for _, clients := range b.crowds {
		list = append(list, measure{"an increment, one object", clients, incrementing, hot("inc"), true})
	}
	all := append(slices.Clip(incrementing), b.bare)
	if err := b.startAll(all); err != nil {
		return err
	}
	defer b.endAll()
	if err := b.compare(ctx, "Requests over loopback", list, all); err != nil {
		return err
	}
	for _, s := range incrementing {
		if err := b.lostNothing(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// lostNothing adds up what the counters hold.
func (b *bench) lostNothing(ctx context.Context, s *server) error {
	sum := 0
	names := []string{"hot"}
	for i := range b.owners[len(b.owners)-1] {
		names = append(names, fmt.Sprint("own", i))
	}
	for _, name := range names {
		body, err := s.ask(ctx, s.request("get", name))
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(body)
		if err != nil {
			return err
		}
		sum += n
	}
	if sum != s.incs {
		return fmt.Errorf("%s answered %d increments and has counted %d", s.name, s.incs, sum)
	}
	fmt.Fprintf(b.out, "%s: all of %d increments are there\n", s.name, sum)
	return nil
}

// sessions measures the same requests to a store of sessions.
func (b *bench) sessions(ctx context.Context) error {
	if b.perdure == nil {
		return nil
	}
	servers := []*server{b.perdure}
	if len(b.workerds) > 0 {
		servers = append(servers, b.workerds[0])
	}
	if err := b.startAll(servers); err != nil {
		return err
	}
	defer b.endAll()
	const clients = 64
	object := func(client int) string { return fmt.Sprint("/objects/SESSIONS/own", client) }
	const hot = "/objects/SESSIONS/hot"
	create := func(path string, client int) []byte {
		return post(path+"/create", fmt.Sprintf(`{"sessionId":"s%d","userId":"ann","data":{"theme":"dark","turn":0}}`, client))
	}
	update := func(path string, client, turn int) []byte {
		return post(path+"/update", fmt.Sprintf(`{"sessionId":"s%d","data":{"turn":%d}}`, client, turn))
	}
	for _, s := range servers {
		fill := load{addr: s.at, clients: clients, turns: 2, request: func(client, turn int) []byte {
			return create([]string{hot, object(client)}[turn], client)
		}}
		if _, err := fill.run(ctx); err != nil {
			return err
		}
	}
	return b.compare(ctx, "Sessions over loopback", []measure{
		{"get a session, one object", 16, servers, func(_ *server, client, _ int) []byte { return get(fmt.Sprintf("%s/get?id=s%d", hot, client)) }, false},
		{"update a session, an object each", clients, servers, func(_ *server, client, turn int) []byte { return update(object(client), client, turn) }, false},
		{"update a session, one object", clients, servers, func(_ *server, client, turn int) []byte { return update(hot, client, turn) }, false},
	}, servers)
}

// compare takes the measures in turns and prints what it chooses of each.
func (b *bench) compare(ctx context.Context, title string, list []measure, columns []*server) error {
	var names []string
	for _, s := range columns {
		names = append(names, s.name)
	}
	rates := report.NewTable(title+": answers a second", "Request, clients", names...)
	waits := report.NewTable(title+": milliseconds until the answer, median and 99 %", "Request, clients", names...)
	costs := report.NewTable(title+": the server's processor time, microseconds an answer", "Request, clients", names...)
	turns := make([]map[*server][]turn, len(list))
	for round := range b.rounds + 1 {
		for i, m := range list {
			if round == 0 {
				turns[i] = make(map[*server][]turn)
			}
			for _, s := range m.servers {
				t, err := b.turn(ctx, m, s, round == 0)
				if err != nil {
					return fmt.Errorf("%s, %d clients: %s: %w", m.name, m.clients, s.name, err)
				}
				if round > 0 {
					turns[i][s] = append(turns[i][s], t)
				}
			}
		}
	}
	for i, m := range list {
		var rate, wait, cost []string
		for _, s := range columns {
			if len(turns[i][s]) == 0 {
				rate, wait, cost = append(rate, "–"), append(wait, "–"), append(cost, "–")
				continue
			}
			t := b.choose(turns[i][s])
			rate = append(rate, count(t.rate()))
			wait = append(wait, milliseconds(t.at(0.5))+" / "+milliseconds(t.at(0.99)))
			cost = append(cost, fmt.Sprint(t.perAnswer().Microseconds()))
		}
		what := fmt.Sprintf("%s, %d", m.name, m.clients)
		rates.Row(what, rate...)
		waits.Row(what, wait...)
		costs.Row(what, cost...)
	}
	return errors.Join(rates.Print(b.out), waits.Print(b.out), costs.Print(b.out))
}

// choose returns the turn whose figures are printed.
func (b *bench) choose(turns []turn) turn {
	if b.best {
		return slices.MaxFunc(turns, byRate)
	}
	return median(turns, byRate)
}

// turn is a short one where it only warms the server. Each client's first request is not
// counted: its object may have been evicted since the last round.
func (b *bench) turn(ctx context.Context, m measure, s *server, warming bool) (t turn, err error) {
	l := load{addr: s.at, clients: m.clients, turns: 1, request: func(client, turn int) []byte { return m.request(s, client, turn) }}
	first, err := l.run(ctx)
	if m.counts {
		s.incs += first.answers
	}
	if err != nil {
		return t, err
	}
	if l.length = b.length; warming {
		l.length /= 3
	}
	before, err := s.cpu()
	if err != nil {
		return t, err
	}
	t.result, err = l.run(ctx)
	if m.counts {
		s.incs += t.answers
	}
	if err != nil {
		return t, err
	}
	after, err := s.cpu()
	t.cpu = after - before
	return t, err
}

// startAll starts servers, each with new data.
func (b *bench) startAll(servers []*server) error {
	for _, s := range servers {
		s.incs = 0
		b.started = append(b.started, s)
		if err := s.start(b.newFolder()); err != nil {
			b.endAll()
			return err
		}
	}
	return nil
}

func (b *bench) endAll() {
	for _, s := range b.started {
		s.end(syscall.SIGTERM)
	}
	b.started = nil
}

func (b *bench) header(w io.Writer) {
	fmt.Fprint(w, report.Machine())
	for _, s := range b.workerds[:min(len(b.workerds), 1)] {
		fmt.Fprintf(w, ", %s", s.version)
	}
	fmt.Fprintln(w)
}
