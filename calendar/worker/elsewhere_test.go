package worker

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/perdure/perdure/calendar/accounts"
)

// A removal ends a user's requests in all processes before any data is deleted, and says
// so if it could not.
func TestRemovalReachesOtherProcesses(t *testing.T) {
	var b *bed
	unreachable := errors.New("node x does not answer")
	var told []string
	var fail error
	b = newBed(t, Options{Elsewhere: func(_ context.Context, user string) error {
		told = append(told, user)
		if _, err := b.accounts.Find(t.Context(), user); user != accounts.Me && !errors.Is(err, accounts.ErrNoUser) {
			t.Errorf("told while the user could still come in: %v", err)
		}
		return fail
	}})
	ann, secret := b.add("ann")
	b.add("bob")
	told = nil
	fail = unreachable
	if code, text := b.control("DELETE", "/users/ann?purge=true", ""); code != 500 || !strings.Contains(text, unreachable.Error()) {
		t.Errorf("removal that did not reach a node = %d %s", code, text)
	}
	if code := b.dav("PROPFIND", "/dav/", "", "ann", secret); code != 401 {
		t.Errorf("the removed user gets %d, want 401", code)
	}
	fail = nil
	if code, text := b.control("DELETE", "/users/"+ann.ID+"?purge=true", ""); code != 200 {
		t.Errorf("the removal again = %d %s", code, text)
	}
	if len(told) != 2 || told[0] != ann.ID || told[1] != ann.ID {
		t.Errorf("told of %q, want twice of %q", told, ann.ID)
	}
}

// What another process asks for: the user's requests here end, and it returns when they have.
func TestExpel(t *testing.T) {
	b := newBed(t, Options{})
	r, leave := b.visits.enter(httptest.NewRequest("GET", "/", nil), "ann", httptest.NewRecorder())
	context.AfterFunc(r.Context(), leave)
	if err := b.Expel(t.Context(), "ann"); err != nil || context.Cause(r.Context()) != errExpelled {
		t.Errorf("Expel: %v, and the request's context ended with %v", err, context.Cause(r.Context()))
	}
}

func TestAnnounce(t *testing.T) {
	b := newBed(t, Options{})
	b.Announce()
	rec := httptest.NewRecorder()
	b.ServeHTTP(rec, httptest.NewRequest("GET", "http://127.0.0.1/health", nil))
	if rec.Code != 503 || !strings.Contains(rec.Body.String(), "draining") {
		t.Errorf("/health = %d %s, want 503 and draining", rec.Code, rec.Body)
	}
	if code := b.dav("PROPFIND", "/dav/", "", "", ""); code != 207 {
		t.Errorf("PROPFIND = %d, want 207: requests are still served", code)
	}
}
