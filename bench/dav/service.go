package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perdure/perdure/bench/internal/report"
	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/calcache"
	"github.com/perdure/perdure/calendar/caldav"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/pebblestore"
)

// bed is a Service in front of one server, with the copies on Pebble.
type bed struct {
	name    string
	bench   *bench
	server  *server
	client  *caldav.Client
	query   func(ctx context.Context, body string) ([]byte, error) // a REPORT without the service
	home    caldav.Home
	dir     string
	idle    time.Duration // of CalendarCache; 0: the default
	rt      *durable.Runtime
	believe *calendar.Service // for an hour
	expired *calendar.Service // never: the TTL is always over
	always  *calendar.Service // asks at every read
	version int               // of the events that were changed last
}

// open opens the copies, and services that hold nothing in memory.
func (b *bed) open() error {
	st, err := pebblestore.Open(b.dir, nil)
	if err != nil {
		return err
	}
	b.rt, err = durable.Open(st, &durable.Options{Classes: []durable.Class{calcache.Class()}, IdleTimeout: b.idle})
	if err != nil {
		return errors.Join(err, st.Close())
	}
	accounts := func(context.Context, string) (calendar.Account, error) {
		return calendar.Account{Client: b.client}, nil
	}
	service := func(opts calendar.Options) *calendar.Service {
		return calendar.New(accounts, b.rt.Namespace(calcache.ClassName), new(calendar.MemorySettings), &opts)
	}
	b.believe = service(calendar.Options{TTL: time.Hour})
	b.expired = service(calendar.Options{TTL: time.Nanosecond})
	b.always = service(calendar.Options{TTL: time.Hour, AlwaysCheck: true})
	return nil
}

func (b *bed) close() error {
	for _, s := range []*calendar.Service{b.believe, b.expired, b.always} {
		if err := s.Close(); err != nil {
			return err
		}
	}
	return b.rt.Close()
}

// beds are our server as perdure serve calls it, and all servers over loopback.
func (b *bench) beds(ctx context.Context) ([]*bed, error) {
	var out []*bed
	add := func(name string, s *server, client *caldav.Client, err error) error {
		if err != nil {
			return err
		}
		d := &bed{name: name, bench: b, server: s, client: client, dir: filepath.Join(b.dir, "copies"+strconv.Itoa(len(out)))}
		d.query = func(ctx context.Context, body string) ([]byte, error) {
			r, err := client.Do(ctx, caldav.Request{Method: "REPORT", Href: s.calendar, Body: []byte(body),
				Header: http.Header{"Depth": {"1"}, "Content-Type": {"application/xml"}}})
			return r.Body, err
		}
		if d.home, err = client.Discover(ctx); err != nil {
			return err
		}
		out = append(out, d)
		return d.open()
	}
	for i, s := range b.servers {
		if i == 0 {
			client, err := s.inProcess()
			if err := add(s.name+", in process", s, client, err); err != nil {
				return nil, err
			}
		}
		client, err := s.client()
		if err := add(s.name, s, client, err); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// list asks for the week and checks that the answer is the one of now.
func (b *bed) list(ctx context.Context, s *calendar.Service, user string) (int, error) {
	from, to := b.bench.week()
	page, err := s.User(user).ListEvents(ctx, calendar.Query{Start: from.Format(time.RFC3339), End: to.Format(time.RFC3339)})
	if err != nil {
		return 0, err
	}
	want := eventTitle(b.bench.inWeek(), b.version)
	if !slices.ContainsFunc(page.Events, func(e calendar.Event) bool { return e.Title == want }) {
		return 0, fmt.Errorf("%s: %q is not among %d events", b.name, want, len(page.Events))
	}
	return len(page.Events), nil
}

// change changes ten events as another client would, one of them in the week.
func (b *bed) change(ctx context.Context) error {
	b.version++
	for k := range 10 {
		i := (b.bench.inWeek() + k*457) % b.bench.events
		if err := b.server.put(ctx, i, b.version); err != nil {
			return err
		}
	}
	return nil
}

// service measures what the copies are good for.
func (b *bench) service(ctx context.Context) (err error) {
	beds, err := b.beds(ctx)
	defer func() {
		for _, d := range beds {
			err = errors.Join(err, d.close())
		}
	}()
	if err != nil {
		return err
	}
	columns := []string{"Answers"}
	for _, d := range beds {
		columns = append(columns, d.name)
	}
	t := report.NewTable("The service; (x) is how many times faster than without it", "Question", columns...)
	calendars := func(s func(*bed) *calendar.Service, user func(round int) string) func(context.Context, *bed, int) (int, error) {
		return func(ctx context.Context, d *bed, round int) (int, error) {
			l, err := s(d).User(user(round)).ListCalendars(ctx)
			return len(l.Calendars), err
		}
	}
	events := func(s func(*bed) *calendar.Service, user func(round int) string) func(context.Context, *bed, int) (int, error) {
		return func(ctx context.Context, d *bed, round int) (int, error) { return d.list(ctx, s(d), user(round)) }
	}
	believe := func(d *bed) *calendar.Service { return d.believe }
	expired := func(d *bed) *calendar.Service { return d.expired }
	always := func(d *bed) *calendar.Service { return d.always }
	one := func(int) string { return "one" }
	fresh := func(kind string) func(int) string {
		return func(round int) string { return kind + strconv.Itoa(round) }
	}
	reopen := func(_ context.Context, d *bed) error { return errors.Join(d.close(), d.open()) }
	change := func(ctx context.Context, d *bed) error { return d.change(ctx) }
	var without []time.Duration
	for _, r := range []struct {
		name   string
		before func(context.Context, *bed) error
		ask    func(context.Context, *bed, int) (int, error)
	}{
		{"calendars, without the service", nil, func(ctx context.Context, d *bed, _ int) (int, error) {
			l, err := d.client.ListCalendars(ctx, d.home)
			return len(l), err
		}},
		{"calendars, cold", nil, calendars(believe, fresh("calendars"))},
		{"calendars, warm", nil, calendars(believe, one)},
		{"calendars, asked at every read", nil, calendars(always, one)},
		{"calendars, after the TTL", nil, calendars(expired, one)},
		{"a week, without the service: everything read", nil, func(ctx context.Context, d *bed, _ int) (int, error) { return d.all(ctx) }},
		{"a week, without the service: the server's calendar-query", nil, func(ctx context.Context, d *bed, _ int) (int, error) {
			data, err := d.query(ctx, b.weekBody())
			return len(responseElement.FindAllIndex(data, -1)), err
		}},
		{"a week, cold", nil, events(believe, fresh("events"))},
		{"a week, copy on disk only", reopen, events(believe, one)},
		{"a week, warm", nil, events(believe, one)},
		{"a week, asked at every read", nil, events(always, one)},
		{"a week, after the TTL, nothing changed", nil, events(expired, one)},
		{"a week, after the TTL, ten changed", change, events(expired, one)},
		{"a week, asked at every read, ten changed", change, events(always, one)},
	} {
		answers := make([]int, len(beds))
		took := make([][]time.Duration, len(beds))
		for round := range b.rounds + 1 {
			for i, d := range beds {
				if r.before != nil {
					if err := r.before(ctx, d); err != nil {
						return fmt.Errorf("%s: %w", r.name, err)
					}
				}
				begin := time.Now()
				if answers[i], err = r.ask(ctx, d, round); err != nil {
					return fmt.Errorf("%s at %s: %w", r.name, d.name, err)
				}
				if round > 0 {
					took[i] = append(took[i], time.Since(begin))
				}
			}
		}
		cells := []string{counts(answers)}
		for i := range beds {
			d := median(took[i])
			cell := milliseconds(d)
			if strings.Contains(r.name, "without the service") {
				if i == 0 {
					without = nil
				}
				without = append(without, d)
			} else {
				cell += " (" + times(without[i], d) + ")"
			}
			cells = append(cells, cell)
		}
		t.Row(r.name, cells...)
	}
	return t.Print(b.out)
}

// all reads the whole calendar and drops it.
func (b *bed) all(ctx context.Context) (int, error) {
	d, err := b.client.Sync(ctx, b.server.calendar, "")
	if err != nil {
		return 0, err
	}
	hrefs := make([]string, len(d.Changed))
	for i, e := range d.Changed {
		hrefs[i] = e.Href
	}
	n := 0
	for obj, err := range b.client.Multiget(ctx, b.server.calendar, hrefs) {
		if err != nil {
			return 0, err
		}
		n++
		io.Discard.Write(obj.Data)
	}
	return n, nil
}
