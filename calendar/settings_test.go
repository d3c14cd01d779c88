package calendar_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/memstore"
)

// userObject keeps settings as the class User will: in a durable object.
type userObject struct{ storage *durable.Storage }

func (o *userObject) Change(ctx context.Context, c calendar.SettingsChange) (calendar.Settings, error) {
	var s calendar.Settings
	if _, err := o.storage.Get(ctx, "settings", &s); err != nil {
		return s, err
	}
	s = s.Apply(c)
	return s, o.storage.Put(ctx, "settings", s)
}

// Settings and their changes cross to an object and its storage unharmed.
func TestSettingsInAnObject(t *testing.T) {
	class := durable.NewClass("User", func(_ context.Context, st *durable.State) (*userObject, error) {
		return &userObject{st.Storage()}, nil
	}, nil)
	rt, err := durable.Open(memstore.New(nil), &durable.Options{Classes: []durable.Class{class}})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	user := rt.Namespace("User").Named("u")
	var want calendar.Settings
	for _, c := range []calendar.SettingsChange{
		{TimeZone: calendar.To("Europe/Vienna"), HiddenCalendars: calendar.To([]string{"a", "b"})},
		{Calendars: map[string]*calendar.Note{"a": {Category: "work", Focus: 3, Kept: true}, "b": {Focus: 1}}},
		{DefaultCalendar: calendar.To("a"), Calendars: map[string]*calendar.Note{"b": nil}},
		{TimeZone: calendar.To("")},
	} {
		want = want.Apply(c)
		got, err := durable.Call(t.Context(), user, (*userObject).Change, c)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("Change(%+v): %v (-want +got):\n%s", c, err, diff)
		}
	}
	if want.TimeZone != "" || len(want.Calendars) != 1 || len(want.HiddenCalendars) != 2 {
		t.Errorf("settings %+v", want)
	}
}
