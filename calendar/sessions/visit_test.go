package sessions_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/calendar/internal/classtest"
	"github.com/perdure/perdure/calendar/sessions"
	"github.com/perdure/perdure/durable"
)

func alice(id string) sessions.Owned { return sessions.Owned{ID: id, UserID: "alice"} }

func visit(t *testing.T, o *classtest.Object, v sessions.Visit) (string, error) {
	t.Helper()
	s, err := durable.Call(t.Context(), o.Stub, (*sessions.Store).Visit, v)
	return string(s.Data), err
}

func TestVisit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, nil)
		made := `{"createdBy":"calendar-tool"}`
		if _, err := visit(t, o, sessions.Visit{Owned: alice("a")}); !errors.Is(err, sessions.ErrNotFound) {
			t.Fatalf("Visit of nothing = %v, want ErrNotFound", err)
		}
		var got string
		var err error
		if cost := o.Cost(func() {
			got, err = visit(t, o, sessions.Visit{Owned: alice("a"), Make: []byte(made), Set: []byte(`{"calendarCount":3}`)})
		}); cost.Batches != 1 {
			t.Errorf("making a session cost %+v, want one commit", cost)
		}
		if want := `{"createdBy":"calendar-tool","calendarCount":3}`; err != nil || got != want {
			t.Fatalf("Visit = %s, %v, want %s", got, err, want)
		}
		if cost := o.Cost(func() {
			got, err = visit(t, o, sessions.Visit{Owned: alice("a"), Make: []byte(made), Set: []byte(`{"calendarCount":4,"lastCalendarFetch":1}`)})
		}); cost.Batches != 1 {
			t.Errorf("a change cost %+v, want one commit", cost)
		}
		if want := `{"createdBy":"calendar-tool","calendarCount":4,"lastCalendarFetch":1}`; err != nil || got != want {
			t.Fatalf("Visit = %s, %v, want %s", got, err, want)
		}
		if cost := o.Cost(func() { got, err = visit(t, o, sessions.Visit{Owned: alice("a")}) }); cost.Batches != 0 {
			t.Errorf("a visit that sets nothing cost %+v", cost)
		}
		// What HTTP sees is the same session.
		if answer := o.Want(200, "GET", "/get?id=a", ""); !strings.Contains(answer, `"userId":"alice","data":`+got) {
			t.Errorf("over HTTP: %s", answer)
		}
		// It lives on with each visit, and then no longer.
		for range 3 {
			time.Sleep(50 * time.Minute)
			if _, err := visit(t, o, sessions.Visit{Owned: alice("a")}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		if _, err := visit(t, o, sessions.Visit{Owned: alice("a")}); !errors.Is(err, sessions.ErrNotFound) {
			t.Errorf("Visit of an expired session = %v, want ErrNotFound", err)
		}
		if got, err := visit(t, o, sessions.Visit{Owned: sessions.Owned{ID: "a", UserID: "bob"}, Make: []byte(made)}); err != nil || got != made {
			t.Errorf("a new session under an expired one's id = %s, %v", got, err)
		}
	})
}

// Another's session, one of nobody's, and an id that can be none are all the same.
func TestVisitOfAnothers(t *testing.T) {
	o := open(t, nil)
	o.Want(200, "POST", "/create", `{"sessionId":"bobs","userId":"bob","data":{"secret":1}}`)
	o.Want(200, "POST", "/create", `{"sessionId":"nobodys","data":{"secret":1}}`)
	o.Want(200, "POST", "/create", `{"sessionId":"nulls","userId":null,"data":{"secret":1}}`)
	for _, owned := range []sessions.Owned{
		alice("bobs"), alice("nobodys"), alice("nulls"), alice("missing/"), alice(""), {ID: "nobodys"}, {ID: "nulls"}, {ID: "new"},
	} {
		if s, err := durable.Call(t.Context(), o.Stub, (*sessions.Store).Find, owned); !errors.Is(err, sessions.ErrNotFound) || s.Data != nil {
			t.Errorf("Find(%+v) = %+v, %v, want ErrNotFound", owned, s, err)
		}
		if got, err := visit(t, o, sessions.Visit{Owned: owned, Make: []byte(`{}`), Set: []byte(`{"x":1}`)}); !errors.Is(err, sessions.ErrNotFound) || got != "" {
			t.Errorf("Visit(%+v) = %s, %v, want ErrNotFound", owned, got, err)
		}
	}
	for _, id := range []string{"bobs", "nobodys", "nulls"} {
		if answer := o.Want(200, "GET", "/get?id="+id, ""); !strings.Contains(answer, `"data":{"secret":1}`) {
			t.Errorf("%s was changed: %s", id, answer)
		}
	}
}

func TestFindWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, nil)
		o.Want(200, "POST", "/create", `{"sessionId":"a","userId":"alice","data":{"n":1}}`)
		created := time.Now().UnixMilli()
		time.Sleep(40 * time.Minute)
		var s sessions.Session
		var err error
		if cost := o.Cost(func() { s, err = durable.Call(t.Context(), o.Stub, (*sessions.Store).Find, alice("a")) }); cost.Batches != 0 {
			t.Errorf("Find cost %+v", cost)
		}
		want := sessions.Session{ID: "a", UserID: "alice", Created: created, Updated: created, Data: []byte(`{"n":1}`)}
		if diff := cmp.Diff(want, s); err != nil || diff != "" {
			t.Errorf("Find: %v (-want +got):\n%s", err, diff)
		}
		time.Sleep(20 * time.Minute)
		if _, err := durable.Call(t.Context(), o.Stub, (*sessions.Store).Find, alice("a")); !errors.Is(err, sessions.ErrNotFound) {
			t.Errorf("Find renewed the session: %v", err)
		}
	})
}

func TestVisitRefusesWhatIsNoObject(t *testing.T) {
	o := open(t, nil)
	for _, bad := range []string{`[]`, `"x"`, `{`, `{}{}`} {
		if _, err := visit(t, o, sessions.Visit{Owned: alice("a"), Make: []byte(bad)}); err == nil || errors.Is(err, sessions.ErrNotFound) {
			t.Errorf("Make %s: %v, want an error", bad, err)
		}
		if _, err := visit(t, o, sessions.Visit{Owned: alice("a"), Make: []byte(`{}`), Set: []byte(bad)}); err == nil || errors.Is(err, sessions.ErrNotFound) {
			t.Errorf("Set %s: %v, want an error", bad, err)
		}
	}
	if _, err := durable.Call(t.Context(), o.Stub, (*sessions.Store).Find, alice("a")); !errors.Is(err, sessions.ErrNotFound) {
		t.Errorf("something was stored: %v", err)
	}
}
