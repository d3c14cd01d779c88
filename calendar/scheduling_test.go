package calendar_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/calcache"
	"github.com/perdure/perdure/calendar/caldav"
	"github.com/perdure/perdure/calendar/internal/cyrustest"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/memstore"
)

// office is a Cyrus with a few users, each with a Service's view and a client beside it.
type office struct {
	t       *testing.T
	svc     *calendar.Service
	clients map[string]*caldav.Client
	before  func(*http.Request) // called before each request of a Service
}

func newOffice(t *testing.T, users ...string) *office {
	t.Helper()
	way := cyrustest.Start(t, "secret", users...).Transport()
	o := &office{t: t, clients: make(map[string]*caldav.Client)}
	inside := make(map[string]*caldav.Client)
	for _, name := range users {
		o.clients[name] = cyrusClient(t, way, name)
		inside[name] = cyrusClient(t, roundTripper(func(r *http.Request) (*http.Response, error) {
			if o.before != nil {
				o.before(r)
			}
			return way.RoundTrip(r)
		}), name)
	}
	rt, err := durable.Open(memstore.New(nil), &durable.Options{Classes: []durable.Class{calcache.Class()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rt.Close() })
	o.svc = calendar.New(func(_ context.Context, user string) (calendar.Account, error) {
		return calendar.Account{Client: inside[user], Source: user}, nil
	}, rt.Namespace(calcache.ClassName), new(calendar.MemorySettings), &calendar.Options{TTL: time.Nanosecond})
	t.Cleanup(func() { o.svc.Close() })
	return o
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// events are what a user sees of the year.
func (o *office) events(user string) []calendar.Event {
	o.t.Helper()
	page, err := o.svc.User(user).ListEvents(o.t.Context(), calendar.Query{Start: "2026-01-01", End: "2026-12-31"})
	if err != nil {
		o.t.Fatal(err)
	}
	return page.Events
}

// want compares what a user sees: start, status if it is one, title and answers.
func (o *office) want(what, user string, want ...string) {
	o.t.Helper()
	got := []string{}
	for _, e := range o.events(user) {
		start := e.Start.String()
		line := start[:min(16, len(start))] + " " + e.Title
		if e.Status == "cancelled" {
			line += " cancelled"
		}
		for _, p := range e.Participants {
			name, _, _ := strings.Cut(p.Email, "@")
			line += " " + name + ":" + p.Status
		}
		got = append(got, line)
	}
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		o.t.Errorf("%s: %s sees (-want +got):\n%s", what, user, diff)
	}
}

// reply answers for a user with another program.
func (o *office) reply(user, answer string) {
	o.t.Helper()
	ctx, c := context.WithoutCancel(o.t.Context()), o.clients[user]
	e := o.events(user)[0]
	href := "/dav/calendars/user/" + user + "/Default/" + e.ID + ".ics"
	obj, err := c.GetObject(ctx, href)
	if err != nil {
		o.t.Fatal(err)
	}
	lines := strings.Split(strings.ReplaceAll(string(obj.Data), "\r\n ", ""), "\r\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "ATTENDEE") && strings.HasSuffix(line, user+"@"+cyrustest.Domain) {
			lines[i] = strings.Replace(line, "PARTSTAT=NEEDS-ACTION", "PARTSTAT="+answer, 1)
		}
	}
	if _, err := c.UpdateObject(ctx, href, obj.ETag, []byte(strings.Join(lines, "\r\n"))); err != nil {
		o.t.Fatal(err)
	}
}

func invite(users ...string) calendar.Opt[[]calendar.Participant] {
	var list []calendar.Participant
	for _, name := range users {
		list = append(list, calendar.Participant{Email: name + "@" + cyrustest.Domain})
	}
	return calendar.To(list)
}

func notified(users ...string) []string {
	var out []string
	for _, name := range users {
		out = append(out, name+"@"+cyrustest.Domain)
	}
	return out
}

// A server that schedules: what one user's Service does shows in another's calendar, and
// the results say to whom.
func TestScheduling(t *testing.T) {
	o := newOffice(t, "alice", "bob", "carol")
	ctx := t.Context()
	alice, bob := o.svc.User("alice"), o.svc.User("bob")
	no, yes := false, true
	check := func(what string, r calendar.Result, err error, users ...string) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if diff := cmp.Diff(notified(users...), r.Notified); diff != "" {
			t.Errorf("%s notified (-want +got):\n%s", what, diff)
		}
	}
	for user := range o.clients {
		o.want("at the beginning", user) // it makes their calendars
	}

	made, err := alice.CreateEvent(ctx, "", calendar.EventChange{
		Title: calendar.To("Überblick"), Start: calendar.To("2026-03-02T09:00"), TimeZone: calendar.To("Europe/Vienna"),
		Recurrence: calendar.To(&calendar.Recurrence{Frequency: "weekly", Count: 3}), Participants: invite("bob", "carol"),
	}, nil)
	check("a meeting", made, err, "bob", "carol")
	id, in := made.Event.ID, made.Event.CalendarID
	update := func(change calendar.EventChange, how calendar.Edit) (calendar.Result, error) {
		return alice.UpdateEvent(ctx, in, id, change, how)
	}
	if now := o.events("alice"); len(now) != 3 || now[0].ETag != made.Event.ETag || made.Event.Organizer.Email != "alice@example.org" {
		t.Errorf("the server added to what was stored, which the result %+v has not; listed as %+v", made.Event, now)
	}
	open := " bob:needs-action carol:needs-action"
	o.want("an invitation", "bob", "2026-03-02T08:00 Überblick"+open, "2026-03-09T08:00 Überblick"+open, "2026-03-16T08:00 Überblick"+open)

	// An attendee changes what is his own, in silence.
	theirs := o.events("bob")[0]
	_, err = bob.UpdateEvent(ctx, theirs.CalendarID, theirs.ID, calendar.EventChange{Title: calendar.To("Mine")}, calendar.Edit{})
	if !errors.Is(err, calendar.ErrForbidden) || !strings.Contains(err.Error(), "alice@example.org") {
		t.Errorf("a new title by an attendee: %v", err)
	}
	for _, how := range []calendar.Edit{{}, {Notify: &no}, {Notify: &yes}, {RecurrenceID: "2026-03-09T08:00:00Z"}} {
		r, err := bob.UpdateEvent(ctx, theirs.CalendarID, theirs.ID, calendar.EventChange{
			Reminders: calendar.To([]calendar.Reminder{{Type: "notification", MinutesBefore: 30}}), Color: calendar.To("teal"),
		}, how)
		check("a reminder of an attendee's", r, err)
		if len(r.Event.Reminders) != 1 || r.Event.Color != "teal" {
			t.Errorf("an attendee's own became %+v", r.Event)
		}
	}

	// A reply that comes between the reading and the writing of a change is kept.
	o.before = func(r *http.Request) {
		if r.Method == http.MethodPut {
			o.before = nil
			o.reply("bob", "ACCEPTED")
		}
	}
	r, err := update(calendar.EventChange{Location: calendar.To("Küche")}, calendar.Edit{})
	check("a place", r, err, "bob", "carol")
	said := " bob:accepted carol:needs-action"
	o.want("a reply", "alice", "2026-03-02T08:00 Überblick"+said, "2026-03-09T08:00 Überblick"+said, "2026-03-16T08:00 Überblick"+said)

	// What nobody is told of, and that all are told with the next change.
	r, err = update(calendar.EventChange{Title: calendar.To("Quiet")}, calendar.Edit{Notify: &no})
	check("a silent title", r, err)
	o.want("a silent title", "carol", "2026-03-02T08:00 Überblick"+said, "2026-03-09T08:00 Überblick"+said, "2026-03-16T08:00 Überblick"+said)
	r, err = update(calendar.EventChange{Title: calendar.To("One")}, calendar.Edit{RecurrenceID: "2026-03-09T08:00:00Z"})
	check("one occurrence", r, err, "bob", "carol")
	r, err = alice.DeleteEvent(ctx, in, id, calendar.Edit{RecurrenceID: "2026-03-16T08:00:00Z"})
	check("one left out", r, err, "bob", "carol")
	o.want("one other and one left out", "carol", "2026-03-02T08:00 Quiet"+said, "2026-03-09T08:00 One"+said)

	// Who is removed is told, and who leaves is heard of unless he does so in silence.
	r, err = update(calendar.EventChange{Participants: invite("bob")}, calendar.Edit{RecurrenceID: "2026-03-09T08:00:00Z"})
	check("one attendee removed from an occurrence", r, err, "bob", "carol")
	theirs = o.events("carol")[0]
	r, err = o.svc.User("carol").DeleteEvent(ctx, theirs.CalendarID, theirs.ID, calendar.Edit{Notify: &no})
	check("leaving in silence", r, err)
	o.want("leaving in silence", "alice", "2026-03-02T08:00 Quiet"+said, "2026-03-09T08:00 One bob:accepted")
	theirs = o.events("bob")[0]
	r, err = bob.DeleteEvent(ctx, theirs.CalendarID, theirs.ID, calendar.Edit{})
	check("leaving", r, err, "alice")
	o.want("leaving", "alice", "2026-03-02T08:00 Quiet bob:declined carol:needs-action", "2026-03-09T08:00 One bob:declined")
	r, err = alice.DeleteEvent(ctx, in, id, calendar.Edit{})
	check("an end", r, err, "bob", "carol")
	o.want("an end", "alice")

	// Nobody outside can be reached: this Cyrus sends no mail.
	made, err = alice.CreateEvent(ctx, "", calendar.EventChange{
		Title: calendar.To("Guests"), Start: calendar.To("2026-03-20"),
		Participants: calendar.To(append(invite("bob").Value, calendar.Participant{Email: "guest@elsewhere.org"})),
	}, nil)
	check("a guest", made, err, "bob")
	if len(made.Warnings) != 1 || !strings.Contains(made.Warnings[0], "guest@elsewhere.org") {
		t.Errorf("a guest: %q", made.Warnings)
	}
	_, err = alice.DeleteEvent(ctx, in, made.Event.ID, calendar.Edit{})
	if err != nil {
		t.Fatal(err)
	}
	o.want("the guest's meeting is over", "bob", "2026-03-20 Guests cancelled bob:needs-action guest:needs-action")
	theirs = o.events("bob")[0]
	if _, err = bob.DeleteEvent(ctx, theirs.CalendarID, theirs.ID, calendar.Edit{}); err != nil {
		t.Fatal(err)
	}

	// Nobody is invited until somebody says so, and a meeting that ends in silence stays theirs.
	made, err = alice.CreateEvent(ctx, "", calendar.EventChange{
		Title: calendar.To("Plan"), Start: calendar.To("2026-04-01"), Participants: invite("bob"),
	}, &no)
	check("a plan", made, err)
	id = made.Event.ID
	r, err = update(calendar.EventChange{Participants: invite("bob", "carol")}, calendar.Edit{})
	check("one more", r, err)
	o.want("a plan", "bob")
	o.want("a plan", "carol")
	r, err = update(calendar.EventChange{End: calendar.To("2026-04-02")}, calendar.Edit{Notify: &yes})
	check("it is told", r, err, "bob", "carol")
	o.want("it is told", "carol", "2026-04-01 Plan"+open)
	r, err = alice.DeleteEvent(ctx, in, id, calendar.Edit{Notify: &no})
	check("a silent end", r, err)
	o.want("a silent end", "bob", "2026-04-01 Plan"+open)
	o.want("a silent end", "alice")
}
