package calendar_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/calcache"
	"github.com/perdure/perdure/calendar/caldav"
	"github.com/perdure/perdure/calendar/internal/cyrustest"
	"github.com/perdure/perdure/calendar/internal/servertest"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/memstore"
)

func TestRadicale(t *testing.T) {
	exercise(t, liveClient(t, servertest.Radicale(t, nil)), true)
}

// Xandikos refuses unknown properties: category and priority live in our copy alone. It
// ignores a color at MKCALENDAR.
func TestXandikos(t *testing.T) {
	exercise(t, liveClient(t, servertest.Xandikos(t, "alice")), false)
}

func TestCyrus(t *testing.T) {
	server := cyrustest.Start(t, "secret", "alice")
	exercise(t, cyrusClient(t, server.Transport(), "alice"), true)
}

func liveClient(t *testing.T, address string) *caldav.Client {
	t.Helper()
	client, err := caldav.New(address, &caldav.Options{Credential: caldav.Credential{Username: "alice", Password: "secret"}})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func cyrusClient(t *testing.T, way http.RoundTripper, user string) *caldav.Client {
	t.Helper()
	client, err := caldav.New(cyrustest.URL, &caldav.Options{
		Credential: caldav.Credential{Username: user, Password: "secret"},
		Transport:  way,
	})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// everyField are changes with all that an event may have.
var everyField = []string{
	`{"title":"Alles; \"auf\" einmal\\, ja","description":"Zeile 1\n\tZeile 2 – ` + strings.Repeat("😀 ü ", 2000) + `","start":"2026-05-04T09:00","end":"2026-05-04T10:30",
	"timeZone":"Europe/Vienna","location":"Straße 1, \"Hof\"","status":"tentative","visibility":"private","availability":"free","color":"teal",
	"categories":["a,b","c;d","ü"],"adhdCategory":"focus","focusPriority":7,"energyLevel":3,"relatedTasks":["t1","t,2"],
	"reminders":[{"type":"notification","minutesBefore":0},{"type":"email","minutesBefore":1440}]}`,
	`{"title":"Days","start":"2026-05-05","end":"2026-05-07","color":"#102030","reminders":[{"type":"notification","minutesBefore":60}]}`,
	`{"title":"Every year","start":"2024-02-29","recurrenceRule":{"frequency":"yearly","byMonth":[2],"byMonthDay":[-1],"exDates":["2025-02-28"]}}`,
	`{"title":"Second Tuesday","start":"2026-05-12T23:30","end":"2026-05-13T00:30","timeZone":"America/New_York","recurrenceRule":{"frequency":"monthly","byDay":["2TU"],"until":"2026-09-30"}}`,
	`{"title":"Last working day","start":"2026-05-29T08:00","timeZone":"Asia/Kolkata","recurrenceRule":{"frequency":"monthly","byDay":["MO","TU","WE","TH","FR"],"bySetPos":[-1],"count":3,"exDates":["2026-06-30T08:00"]}}`,
	`{"title":"The second of two hours","start":"2026-10-25T02:30:00+01:00","end":"2026-10-25T02:45:00+01:00","timeZone":"Europe/Vienna"}`,
	`{"title":"UTC, every other day","start":"2026-06-01T12:00:00Z","end":"2026-06-01T12:01:00Z","recurrenceRule":{"frequency":"daily","interval":2,"until":"2026-06-09T12:00:00Z"}}`,
}

// exercise runs the service against a real server, beside another client.
func exercise(t *testing.T, client *caldav.Client, keepsColor bool) {
	ctx := t.Context()
	rt, err := durable.Open(memstore.New(nil), &durable.Options{Classes: []durable.Class{calcache.Class()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rt.Close() })
	settings := new(calendar.MemorySettings)
	service := func(rt *durable.Runtime) *calendar.User {
		svc := calendar.New(func(context.Context, string) (calendar.Account, error) {
			return calendar.Account{Client: client, Addresses: []string{"alice@example.org"}}, nil
		},
			rt.Namespace(calcache.ClassName), settings, &calendar.Options{TTL: time.Nanosecond})
		t.Cleanup(func() { svc.Close() })
		return svc.User("alice")
	}
	me := service(rt)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err = me.CreateCalendar(ctx, calendar.CalendarChange{DisplayName: calendar.To("First")}) // which a user without any then has by default
	must(err)
	made, err := me.CreateCalendar(ctx, calendar.CalendarChange{DisplayName: calendar.To("Work"), Color: calendar.To("#112233"), Category: calendar.To("work"), Focus: calendar.To(6)})
	must(err)
	if made.DisplayName != "Work" || made.Category != "work" || made.Focus != 6 || keepsColor && made.Color != "#112233" {
		t.Errorf("CreateCalendar = %+v", made)
	}
	list := func(u *calendar.User) []calendar.Event {
		t.Helper()
		page, err := u.ListEvents(ctx, calendar.Query{Start: "2026-01-01", End: "2026-12-31", Calendars: []string{made.ID}})
		must(err)
		return page.Events
	}
	e, err := me.CreateEvent(ctx, made.ID, calendar.EventChange{
		Title: calendar.To("Standup; daily, \"short\""), Start: calendar.To("2026-03-02T09:00"), TimeZone: calendar.To("Europe/Vienna"),
		Recurrence: calendar.To(&calendar.Recurrence{Frequency: "weekly", Count: 4}), ADHDCategory: calendar.To("routine"),
		Reminders: calendar.To([]calendar.Reminder{{Type: "notification", MinutesBefore: 10}}), Color: calendar.To("teal"),
	}, nil)
	must(err)
	_, err = me.UpdateEvent(ctx, made.ID, e.Event.ID, calendar.EventChange{Title: calendar.To("Other")}, calendar.Edit{RecurrenceID: "2026-03-09T08:00:00Z"})
	must(err)
	_, err = me.DeleteEvent(ctx, made.ID, e.Event.ID, calendar.Edit{RecurrenceID: "2026-03-16T08:00:00Z"})
	must(err)
	at, err := url.Parse(made.URL)
	must(err)
	href := at.Path
	_, err = client.CreateObject(ctx, caldav.Join(href, "theirs.ics"), []byte(event("theirs", ":20260310T090000Z", "DTEND:20260310T100000Z", "SUMMARY:theirs")))
	must(err)
	want := []string{"2026-03-02T08:00 Standup; daily, \"short\"", "2026-03-09T08:00 Other", "2026-03-10T09:00 theirs", "2026-03-23T08:00 Standup; daily, \"short\""}
	if diff := cmp.Diff(want, starts(list(me))); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	_, err = me.UpdateEvent(ctx, made.ID, e.Event.ID, calendar.EventChange{Start: calendar.To("2026-03-02T10:00"), TimeZone: calendar.To("Europe/Vienna")}, calendar.Edit{})
	must(err)

	// A copy that grew by deltas is the one that is made at once.
	fresh, err := durable.Open(memstore.New(nil), &durable.Options{Classes: []durable.Class{calcache.Class()}})
	must(err)
	t.Cleanup(func() { fresh.Close() })
	grown, whole := list(me), list(service(fresh))
	if diff := cmp.Diff(whole, grown); diff != "" || len(whole) != 4 {
		t.Errorf("%d events; a grown copy differs (-whole +grown):\n%s", len(whole), diff)
	}
	must(client.DeleteObject(ctx, caldav.Join(href, "theirs.ics"), ""))
	if n := len(list(me)); n != 3 {
		t.Errorf("%d events after another client deleted one, want 3", n)
	}
	_, err = me.DeleteEvent(ctx, made.ID, e.Event.ID, calendar.Edit{})
	must(err)
	if n := len(list(me)); n != 0 {
		t.Errorf("%d events after all were deleted", n)
	}
	for _, text := range everyField {
		var change calendar.EventChange
		must(json.Unmarshal([]byte(text), &change))
		e, err := me.CreateEvent(ctx, made.ID, change, nil)
		if err != nil {
			t.Errorf("%.300s: %v", text, err)
			continue
		}
		_, err = me.UpdateEvent(ctx, made.ID, e.Event.ID, calendar.EventChange{Location: calendar.To("Über; \\ \"all\", 😀")}, calendar.Edit{})
		must(err)
		_, err = me.UpdateEvent(ctx, made.ID, e.Event.ID, change, calendar.Edit{})
		must(err)
	}
	again, err := durable.Open(memstore.New(nil), &durable.Options{Classes: []durable.Class{calcache.Class()}})
	must(err)
	t.Cleanup(func() { again.Close() })
	grown, whole = list(me), list(service(again))
	if diff := cmp.Diff(whole, grown); diff != "" {
		t.Errorf("what was written is read otherwise (-read +written):\n%s", diff)
	}
	must(me.DeleteCalendar(ctx, made.ID))
	if _, err := me.GetEvent(ctx, made.ID, e.Event.ID, ""); !errors.Is(err, calendar.ErrNotFound) {
		t.Errorf("event of a deleted calendar: %v", err)
	}
}
