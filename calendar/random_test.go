package calendar_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/calcache"
	"github.com/perdure/perdure/calendar/caldav"
	"github.com/perdure/perdure/calendar/davserver"
	"github.com/perdure/perdure/calendar/ical"
	"github.com/perdure/perdure/calendar/internal/cyrustest"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/memstore"
)

var seed = flag.Uint64("seed", 0, "seed of the random history; 0 chooses one")

// inProcess calls a handler as the server of one user.
type inProcess struct {
	handler http.Handler
	user    davserver.User
}

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	w := &recorder{header: make(http.Header)}
	p.handler.ServeHTTP(w, r.WithContext(davserver.WithUser(r.Context(), p.user)))
	return w.response(r), nil
}

// recorder is an http.ResponseWriter in memory.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *recorder) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

func (w *recorder) Flush() {}

func (w *recorder) response(r *http.Request) *http.Response {
	w.WriteHeader(http.StatusOK)
	return &http.Response{StatusCode: w.status, Status: http.StatusText(w.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: readCloser{&w.body}, ContentLength: int64(w.body.Len()), Request: r}
}

type readCloser struct{ *bytes.Buffer }

func (readCloser) Close() error { return nil }

// newOwnServer is a testbed over our own calendar server, in process.
func newOwnServer(t testing.TB) (*testbed, *caldav.Client) {
	t.Helper()
	rt, err := durable.Open(memstore.New(nil), &durable.Options{Classes: append(davserver.Classes(), calcache.Class())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rt.Close() })
	user := davserver.User{ID: "u1", Name: "alice"}
	dav := davserver.New(rt, nil)
	if err := dav.Seed(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	transport := inProcess{dav, user}
	b := &testbed{rt: rt, settings: new(calendar.MemorySettings)}
	b.mails = []string{"alice@example.org"} // the organizer of what the other client writes
	b.svc = b.newService(t, transport, &calendar.Options{AlwaysCheck: true})
	b.User = b.svc.User("u1")
	other, err := caldav.New("https://cloud.example.org/dav/", &caldav.Options{Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return b, other
}

func TestOwnServer(t *testing.T) {
	b, other := newOwnServer(t)
	ctx := t.Context()
	cals, err := b.ListCalendars(ctx)
	if err != nil || len(cals.Calendars) != 2 {
		t.Fatalf("ListCalendars = %+v, %v", cals, err)
	}
	if page, err := b.ListEvents(ctx, calendar.Query{}); err != nil || len(page.Events) == 0 {
		t.Errorf("the samples: %d events, %v", len(page.Events), err)
	}
	made, err := b.CreateCalendar(ctx, calendar.CalendarChange{DisplayName: calendar.To("Work"), Category: calendar.To("work"), Focus: calendar.To(4)})
	if err != nil || made.Category != "work" || made.Focus != 4 {
		t.Fatalf("CreateCalendar = %+v, %v", made, err)
	}
	e, err := b.CreateEvent(ctx, made.ID, calendar.EventChange{Title: calendar.To("Standup"), Start: calendar.To("2026-03-02T09:00"), TimeZone: calendar.To("Europe/Vienna"),
		Recurrence: calendar.To(&calendar.Recurrence{Frequency: "weekly", Count: 4})}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.UpdateEvent(ctx, made.ID, e.Event.ID, calendar.EventChange{Title: calendar.To("Other")}, calendar.Edit{RecurrenceID: "2026-03-09T08:00:00Z"}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.DeleteEvent(ctx, made.ID, e.Event.ID, calendar.Edit{RecurrenceID: "2026-03-16T08:00:00Z"}); err != nil {
		t.Fatal(err)
	}
	q := year
	q.Calendars = []string{made.ID}
	if diff := cmp.Diff([]string{"Standup", "Other", "Standup"}, titles(b.list(t, q).Events)); diff != "" {
		t.Errorf("titles (-want +got):\n%s", diff)
	}
	// A change made through the server itself shows in the next answer.
	href := strings.TrimPrefix(made.URL, "https://cloud.example.org")
	if _, err := other.CreateObject(ctx, caldav.Join(href, "x.ics"), []byte(simple("theirs"))); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"Standup", "Other", "theirs", "Standup"}, titles(b.list(t, q).Events)); diff != "" {
		t.Errorf("titles after another client's change (-want +got):\n%s", diff)
	}
	if err := b.DeleteCalendar(ctx, made.ID); err != nil {
		t.Error(err)
	}
	if _, err := b.ListEvents(ctx, q); !errors.Is(err, calendar.ErrNotFound) {
		t.Errorf("events of a deleted calendar: %v", err)
	}
}

// TestTwoClients lets the service and another client change the same objects at once.
// Each has properties of its own to write; in the end every object has what each wrote
// last, nothing is lost or there twice, and the service lists what the server has.
func TestTwoClients(t *testing.T) {
	for _, server := range []string{"fake", "own", "cyrus"} {
		t.Run(server, func(t *testing.T) {
			s := *seed
			if s == 0 {
				s = rand.Uint64()
			}
			t.Logf("-seed=%d", s)
			var b *testbed
			var other *caldav.Client
			switch server {
			case "own":
				b, other = newOwnServer(t)
			case "cyrus":
				way := cyrustest.Start(t, "secret", "alice").Transport()
				b = newTestbed(t, nil)
				b.svc = b.newService(t, roundTripper(func(r *http.Request) (*http.Response, error) {
					r = r.Clone(r.Context())
					r.URL.Scheme = "http"
					return way.RoundTrip(r)
				}), &calendar.Options{TTL: time.Nanosecond})
				b.User = b.svc.User("alice")
				other = cyrusClient(t, way, "alice")
			default:
				b = newTestbed(t, &calendar.Options{TTL: time.Nanosecond})
				var err error
				if other, err = caldav.New("https://cloud.example.org/dav/", &caldav.Options{Transport: b.server}); err != nil {
					t.Fatal(err)
				}
			}
			h := &history{testbed: b, other: other, seed: s, turns: 60}
			if server == "cyrus" {
				h.turns, h.rewrites = 5, true // its scheduling takes time
			}
			h.run(t)
		})
	}
}

type history struct {
	*testbed
	other    *caldav.Client
	seed     uint64
	turns    int    // of each goroutine
	rewrites bool   // the server writes parameters in its own order, and what became of invitations
	id       string // of the calendar
	href     string

	mu     sync.Mutex
	ours   map[string]map[string]string // by event id: what we wrote last
	theirs map[string]string            // by event id: what they wrote last
	gone   map[string]bool
}

const shared = 6 // objects that both change all the time

func (h *history) run(t *testing.T) {
	ctx := t.Context()
	l, err := h.ListCalendars(ctx)
	if err != nil {
		t.Fatal(err)
	}
	h.id = l.Calendars[0].ID
	h.href = strings.TrimPrefix(l.Calendars[0].URL, "https://cloud.example.org")
	q := calendar.Query{Start: "2026-01-01", End: "2026-12-31", Calendars: []string{h.id}, Limit: 500}
	for _, e := range h.list(t, q).Events { // samples
		if _, err := h.DeleteEvent(ctx, h.id, e.ID, calendar.Edit{}); err != nil && !errors.Is(err, calendar.ErrNotFound) {
			t.Fatal(err)
		}
	}
	h.ours, h.theirs, h.gone = map[string]map[string]string{}, map[string]string{}, map[string]bool{}
	for i := range shared {
		id := fmt.Sprintf("shared%d", i)
		data := strings.Replace(strings.Replace(odd, "UID:odd", "UID:"+id, 1), "SUMMARY;LANGUAGE=de:Zahn\\,arzt", "SUMMARY:"+id, 1)
		if _, err := h.other.CreateObject(ctx, caldav.Join(h.href, id+".ics"), []byte(data)); err != nil {
			t.Fatal(err)
		}
		h.ours[id] = map[string]string{"title": id}
	}
	var wg sync.WaitGroup
	for i := range uint64(2) {
		wg.Go(func() { h.we(t, rand.New(rand.NewPCG(h.seed, i))) })
		wg.Go(func() { h.they(t, rand.New(rand.NewPCG(h.seed, 100+i)), i) })
	}
	wg.Wait()
	h.compare(t, q)
}

// we change titles, places and descriptions, each goroutine the fields of its own events
// or any; who is told of a conflict has changed nothing.
func (h *history) we(t *testing.T, r *rand.Rand) {
	ctx := context.Background()
	var mine []string
	for i := range h.turns {
		value := fmt.Sprintf("v%d-%d", r.Uint32(), i)
		switch n := r.IntN(10); {
		case n == 0:
			made, err := h.CreateEvent(ctx, h.id, calendar.EventChange{Title: calendar.To(value), Start: calendar.To("2026-05-01T10:00:00Z")}, nil)
			if err != nil {
				t.Errorf("create: %v", err)
				continue
			}
			mine = append(mine, made.Event.ID)
			h.note(made.Event.ID, "title", value)
		case n == 1 && len(mine) > 0:
			k := r.IntN(len(mine))
			if _, err := h.DeleteEvent(ctx, h.id, mine[k], calendar.Edit{}); err != nil {
				t.Errorf("delete: %v", err)
				continue
			}
			h.mu.Lock()
			h.gone[mine[k]] = true
			h.mu.Unlock()
			mine = slices.Delete(mine, k, k+1)
		case n == 2:
			if _, err := h.ListEvents(ctx, calendar.Query{Start: "2026-01-01", End: "2026-12-31"}); err != nil {
				t.Errorf("list: %v", err)
			}
		default:
			id := fmt.Sprintf("shared%d", r.IntN(shared))
			field := []string{"title", "location", "description"}[r.IntN(3)]
			c := calendar.EventChange{}
			switch field {
			case "title":
				c.Title = calendar.To(value)
			case "location":
				c.Location = calendar.To(value)
			default:
				c.Description = calendar.To(value)
			}
			// The lock keeps our two goroutines from each other: theirs is the contest.
			h.mu.Lock()
			_, err := h.UpdateEvent(ctx, h.id, id, c, calendar.Edit{})
			switch {
			case err == nil:
				if h.ours[id] == nil {
					h.ours[id] = map[string]string{}
				}
				h.ours[id][field] = value
			case !errors.Is(err, calendar.ErrConflict):
				t.Errorf("update %s: %v", id, err)
			}
			h.mu.Unlock()
		}
	}
}

func (h *history) note(id, field, value string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ours[id] = map[string]string{field: value}
}

// they change a property that we know nothing about.
func (h *history) they(t *testing.T, r *rand.Rand, part uint64) {
	ctx := context.Background()
	for i := range h.turns {
		n := r.IntN(shared/2)*2 + int(part) // each has objects of its own
		id := fmt.Sprintf("shared%d", n)
		value := fmt.Sprintf("theirs-%d-%d", part, i)
		for {
			obj, err := h.other.GetObject(ctx, caldav.Join(h.href, id+".ics"))
			if err != nil {
				t.Errorf("their get: %v", err)
				return
			}
			cal, err := ical.Parse(obj.Data, nil)
			if err != nil {
				t.Errorf("their parse: %v", err)
				return
			}
			cal.Components("VEVENT")[0].SetValue("X-THEIRS", value)
			if _, err = h.other.UpdateObject(ctx, obj.Href, obj.ETag, cal.Bytes()); err == nil {
				break
			} else if !errors.Is(err, caldav.ErrPreconditionFailed) {
				t.Errorf("their put: %v", err)
				return
			}
		}
		h.mu.Lock()
		h.theirs[id] = value
		h.mu.Unlock()
	}
}

func (h *history) compare(t *testing.T, q calendar.Query) {
	ctx := context.Background()
	entries, err := h.other.ListObjects(ctx, h.href, "")
	if err != nil {
		t.Fatal(err)
	}
	onServer := map[string]string{} // id → title
	for _, entry := range entries {
		obj, err := h.other.GetObject(ctx, entry.Href)
		if err != nil {
			t.Fatal(err)
		}
		cal, err := ical.Parse(obj.Data, nil)
		if err != nil {
			t.Fatal(err)
		}
		id := strings.TrimSuffix(entry.Href[strings.LastIndexByte(entry.Href, '/')+1:], ".ics")
		e := cal.Components("VEVENT")[0]
		onServer[id] = e.Text("SUMMARY")
		for field, value := range h.ours[id] {
			name := map[string]string{"title": "SUMMARY", "location": "LOCATION", "description": "DESCRIPTION"}[field]
			if got := e.Text(name); got != value {
				t.Errorf("%s: %s is %q, we wrote %q last", id, field, got, value)
			}
		}
		if !strings.HasPrefix(id, "shared") {
			continue
		}
		if got := e.Text("X-THEIRS"); got != h.theirs[id] {
			t.Errorf("%s: X-THEIRS is %q, they wrote %q last", id, got, h.theirs[id])
		}
		if h.rewrites {
			continue
		}
		lost, _ := changedLines(string(obj.Data), odd)
		for _, line := range lost {
			if !strings.HasPrefix(line, "UID") && !strings.HasPrefix(line, "DTSTAMP") && !strings.HasPrefix(line, "SUMMARY") {
				t.Errorf("%s lost %q", id, line)
			}
		}
	}
	for id := range h.ours {
		if _, there := onServer[id]; there == h.gone[id] {
			t.Errorf("%s: on the server %v, deleted %v", id, there, h.gone[id])
		}
	}
	if len(onServer) != len(h.ours)-len(h.gone) {
		t.Errorf("%d objects on the server, want %d", len(onServer), len(h.ours)-len(h.gone))
	}
	listed := map[string]string{}
	for _, e := range h.list(t, q).Events {
		if _, twice := listed[e.ID]; twice {
			t.Errorf("%s is listed twice", e.ID)
		}
		listed[e.ID] = e.Title
	}
	if diff := cmp.Diff(onServer, listed); diff != "" {
		t.Errorf("the service lists otherwise than the server has (-server +service):\n%s", diff)
	}
}
