package calendar_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/calcache"
)

func (b *testbed) calendar(t testing.TB, id string) calendar.Calendar {
	t.Helper()
	l, err := b.ListCalendars(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range l.Calendars {
		if c.ID == id {
			return c
		}
	}
	t.Fatalf("no calendar %q in %+v", id, l.Calendars)
	return calendar.Calendar{}
}

func TestCalendars(t *testing.T) {
	for _, forgetful := range []bool{false, true} { // a stock Nextcloud forgets category and priority
		b := newTestbed(t, nil)
		b.server.noDead = forgetful
		made, err := b.CreateCalendar(t.Context(), calendar.CalendarChange{DisplayName: calendar.To("Büro & Co"), Color: calendar.To("steelblue"), Category: calendar.To("work"), Focus: calendar.To(8)})
		if err != nil {
			t.Fatal(err)
		}
		if made.DisplayName != "Büro & Co" || made.Color != "#4682b4" || made.Category != "work" || made.Focus != 8 || !made.Permissions.CanWrite || made.IsDefault ||
			!regexp.MustCompile(`^[a-zA-Z0-9_.-]+$`).MatchString(made.ID) {
			t.Errorf("made %+v", made)
		}
		if diff := cmp.Diff(made, b.calendar(t, made.ID)); diff != "" {
			t.Errorf("listed (-made +listed):\n%s", diff)
		}
		upd, err := b.UpdateCalendar(t.Context(), made.ID, calendar.CalendarChange{DisplayName: calendar.To("Office"), Category: calendar.To("")})
		if err != nil || upd.DisplayName != "Office" || upd.Category != "" || upd.Focus != 8 || upd.Color != "#4682b4" {
			t.Errorf("updated %+v, %v", upd, err)
		}
		if diff := cmp.Diff(upd, b.calendar(t, made.ID)); diff != "" {
			t.Errorf("listed (-updated +listed):\n%s", diff)
		}
		if _, err := b.UpdateCalendar(t.Context(), made.ID, calendar.CalendarChange{}); !errors.Is(err, calendar.ErrInvalid) {
			t.Errorf("empty update: %v", err)
		}
		if err := b.DeleteCalendar(t.Context(), "personal"); !errors.Is(err, calendar.ErrForbidden) {
			t.Errorf("deleting the default calendar: %v", err)
		}
		if _, err := b.ChangeSettings(t.Context(), calendar.SettingsChange{DefaultCalendar: calendar.To(made.ID)}); err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"personal", made.ID} {
			if err := b.DeleteCalendar(t.Context(), id); !errors.Is(err, calendar.ErrForbidden) {
				t.Errorf("deleting %s, which is the server's own or the default: %v", id, err)
			}
		}
		if _, err := b.ChangeSettings(t.Context(), calendar.SettingsChange{DefaultCalendar: calendar.To("")}); err != nil {
			t.Fatal(err)
		}
		if err := b.DeleteCalendar(t.Context(), made.ID); err != nil {
			t.Fatal(err)
		}
		if l, err := b.ListCalendars(t.Context()); err != nil || len(l.Calendars) != 1 {
			t.Errorf("after deletion: %+v, %v", l, err)
		}
		if s, err := b.settings.LoadSettings(t.Context(), "alice"); err != nil || len(s.Calendars) != 0 {
			t.Errorf("settings keep notes of a deleted calendar: %+v, %v", s, err)
		}
	}
}

// Where the server does give a category back, its word counts: another client's
// removal is one.
// The default calendar of a server that marks none stays the same when another one is
// made, and can't be deleted, whoever made it the default.
func TestDefaultCalendarStays(t *testing.T) {
	b := newTestbed(t, nil)
	b.server.make("home")
	delete(b.server.calendars, fakeHome+"personal/")
	if !b.calendar(t, "home").IsDefault {
		t.Fatal("home is not the default calendar")
	}
	if err := b.DeleteCalendar(t.Context(), "home"); !errors.Is(err, calendar.ErrForbidden) {
		t.Errorf("deleting the default calendar: %v", err)
	}
	made, err := b.CreateCalendar(t.Context(), calendar.CalendarChange{DisplayName: calendar.To("Cat")})
	if err != nil || made.IsDefault || made.ID > "home" {
		t.Fatalf("made %+v, %v; want one that the server lists first", made, err)
	}
	if !b.calendar(t, "home").IsDefault || b.calendar(t, made.ID).IsDefault {
		t.Error("the new calendar is the default")
	}
	r, err := b.CreateEvent(t.Context(), "", calendar.EventChange{Title: calendar.To("x"), Start: calendar.To("2026-03-10")}, nil)
	if err != nil || r.Event.CalendarID != "home" {
		t.Errorf("a new event went to %q, %v", r.Event.CalendarID, err)
	}
	if err := b.DeleteCalendar(t.Context(), "home"); !errors.Is(err, calendar.ErrForbidden) {
		t.Errorf("deleting the default calendar: %v", err)
	}
	if err := b.DeleteCalendar(t.Context(), made.ID); err != nil {
		t.Errorf("deleting the other one: %v", err)
	}
}

func TestServersWordCounts(t *testing.T) {
	b := newTestbed(t, &calendar.Options{AlwaysCheck: true})
	if _, err := b.UpdateCalendar(t.Context(), "personal", calendar.CalendarChange{Category: calendar.To("work")}); err != nil {
		t.Fatal(err)
	}
	b.server.mu.Lock()
	c := b.server.calendars[fakeHome+"personal/"]
	for name := range c.props {
		if name.Local == "calendar-category" {
			delete(c.props, name)
		}
	}
	b.server.mu.Unlock()
	if got := b.calendar(t, "personal").Category; got != "" {
		t.Errorf("category %q after another client removed it", got)
	}
}

func TestOddCalendarNames(t *testing.T) {
	b := newTestbed(t, nil)
	b.server.make("%C3%A4%20%2F")
	b.server.put("%C3%A4%20%2F", "x%20y.ics", simple("odd"))
	l, err := b.ListCalendars(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ids := regexp.MustCompile(`^[a-zA-Z0-9_.-]+$`)
	for _, c := range l.Calendars {
		if !ids.MatchString(c.ID) {
			t.Errorf("calendar id %q", c.ID)
		}
	}
	page := b.list(t, year)
	if len(page.Events) != 1 || !ids.MatchString(page.Events[0].ID) {
		t.Fatalf("events %+v", page.Events)
	}
	e := page.Events[0]
	if _, err := b.UpdateEvent(t.Context(), e.CalendarID, e.ID, calendar.EventChange{Title: calendar.To("y")}, calendar.Edit{}); err != nil {
		t.Errorf("update by odd ids: %v", err)
	}
}

func TestDeletedCalendar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTestbed(t, nil)
		b.server.make("work")
		b.server.put("personal", "a.ics", simple("a"))
		b.wantTitles(t, "before", "a")
		b.server.mu.Lock()
		delete(b.server.calendars, fakeHome+"personal/")
		b.server.mu.Unlock()
		time.Sleep(5 * time.Minute)
		b.takeChanges()
		b.wantTitles(t, "after another client deleted the calendar")
		if diff := cmp.Diff([]calendar.Change{{User: "alice", Calendars: true}}, b.takeChanges()); diff != "" {
			t.Errorf("changes told (-want +got):\n%s", diff)
		}
		if b.copyHead(t).Version != 0 {
			t.Error("the copy of the deleted calendar is still there")
		}
	})
}

func TestSettings(t *testing.T) {
	b := newTestbed(t, nil)
	ctx := t.Context()
	b.server.make("work")
	for _, c := range []calendar.SettingsChange{
		{TimeZone: calendar.To("Nowhere")}, {DefaultCalendar: calendar.To("nope")}, {HiddenCalendars: calendar.To([]string{"nope"})},
		{Addresses: calendar.To([]string{"alice"})}, {Addresses: calendar.To([]string{"Alice <alice@example.org>"})},
		{Addresses: calendar.To([]string{"a@b.cd", ""})}, {Addresses: calendar.To([]string{"a@b.cd\r\nX:y"})},
		{Addresses: calendar.To([]string{strings.Repeat("a", 243) + "@example.org"})}, {Addresses: calendar.To(make([]string, 21))},
	} {
		if _, err := b.ChangeSettings(ctx, c); err == nil {
			t.Errorf("ChangeSettings(%+v) was taken", c)
		}
	}
	want := calendar.Settings{TimeZone: "Europe/Vienna", DefaultCalendar: "work", HiddenCalendars: []string{"personal"}}
	got, err := b.ChangeSettings(ctx, calendar.SettingsChange{TimeZone: calendar.To("europe/vienna"), DefaultCalendar: calendar.To("work"), HiddenCalendars: calendar.To([]string{"personal"})})
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("ChangeSettings: %v (-want +got):\n%s", err, diff)
	}
	if got, err := b.Settings(ctx); err != nil || !cmp.Equal(want, got) {
		t.Errorf("Settings = %+v, %v", got, err)
	}
	got, err = b.ChangeSettings(ctx, calendar.SettingsChange{Addresses: calendar.To([]string{" A@example.org", "mailto:a@example.org", "b@example.org"})})
	if want.Addresses = []string{"a@example.org", "b@example.org"}; err != nil || !cmp.Equal(want, got) {
		t.Errorf("ChangeSettings = %+v, %v", got, err)
	}
	r, err := b.CreateEvent(ctx, "", calendar.EventChange{Title: calendar.To("x"), Start: calendar.To("2026-03-10T09:00")}, nil)
	if err != nil || r.Event.CalendarID != "work" || r.TimeZone != "Europe/Vienna" {
		t.Errorf("created in %s, zone %s, %v", r.Event.CalendarID, r.TimeZone, err)
	}
	if !b.calendar(t, "work").IsDefault || !b.calendar(t, "personal").IsHidden {
		t.Error("list does not show default and hidden")
	}
}

// The seed's preferences entry is a copy with its own lifetime, and foreign ones are left alone.
func TestPreferencesEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTestbed(t, nil)
		ctx := t.Context()
		if _, err := b.ChangeSettings(ctx, calendar.SettingsChange{TimeZone: calendar.To("Europe/Vienna")}); err != nil {
			t.Fatal(err)
		}
		// Behind the service's back: the copy is believed for a day.
		b.settings.ChangeSettings(ctx, "alice", calendar.SettingsChange{TimeZone: calendar.To("Asia/Tokyo")})
		if s, err := b.Settings(ctx); err != nil || s.TimeZone != "Europe/Vienna" {
			t.Errorf("cached settings %+v, %v", s, err)
		}
		time.Sleep(24 * time.Hour)
		if s, err := b.Settings(ctx); err != nil || s.TimeZone != "Asia/Tokyo" {
			t.Errorf("settings after a day %+v, %v", s, err)
		}
		cache := b.rt.Namespace(calcache.ClassName).Named("alice")
		req := func(method, body string) string { return serve(cache, method, "/preferences?userId=alice", body) }
		req("PUT", `{"theme":"dark"}`)
		if s, err := b.Settings(ctx); err != nil || s.TimeZone != "Asia/Tokyo" {
			t.Errorf("settings beside foreign preferences %+v, %v", s, err)
		}
		if got := req("GET", ""); got != `{"theme":"dark"}` {
			t.Errorf("foreign preferences became %s", got)
		}
	})
}
