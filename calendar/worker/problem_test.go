package worker

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/accounts"
	"github.com/perdure/perdure/durable"
)

// TestProblem has errors with inner text, which stops here.
func TestProblem(t *testing.T) {
	const inner = "s3cret inside"
	cause := errors.New(inner)
	of := func(kind error) error {
		return fmt.Errorf("op: %w", &calendar.Problem{Kind: kind, Text: "What was wrong.", Err: cause})
	}
	wrap := func(err error) error { return fmt.Errorf("%s: %w", inner, err) }
	w := newBed(t, Options{}).Worker
	for _, tt := range []struct {
		err    error
		status int
		text   string
		retry  string
	}{
		{of(calendar.ErrInvalid), 400, "What was wrong.", ""},
		{of(calendar.ErrNotFound), 404, "What was wrong.", ""},
		{of(calendar.ErrForbidden), 403, "What was wrong.", ""},
		{of(calendar.ErrConflict), 409, "What was wrong.", ""},
		{of(calendar.ErrLocked), 423, "What was wrong.", ""},
		{of(calendar.ErrUnauthorized), 502, "What was wrong.", ""},
		{of(calendar.ErrUnavailable), 503, "What was wrong.", ""},
		{of(calendar.ErrUncertain), 504, "What was wrong.", ""},
		{&calendar.Problem{Kind: calendar.ErrBusy, Text: "Later.", Retry: 90 * time.Second}, 503, "Later.", "90"},
		{of(errors.New("another kind")), 500, "Internal error", ""},
		{wrap(durable.ErrOverloaded), 503, "busy", "1"},
		{wrap(durable.ErrShutdown), 503, "busy", "1"},
		{wrap(calendar.ErrClosed), 503, "busy", "1"},
		{wrap(context.DeadlineExceeded), 503, "busy", "1"},
		{wrap(accounts.ErrNoUser), 401, "token", ""},
		{wrap(durable.ErrStoreBroken), 500, "Internal error", ""},
		{wrap(cause), 500, "Internal error", ""},
		{errLogin, 401, "Log in", ""},
		{wrap(errShut), 403, "There are users", ""},
	} {
		rw := httptest.NewRecorder()
		w.refuse(rw, httptest.NewRequest("GET", "/", nil), tt.err)
		if rw.Code != tt.status || !strings.Contains(rw.Body.String(), tt.text) || rw.Header().Get("Retry-After") != tt.retry {
			t.Errorf("%v: %d %s, Retry-After %q; want %d with %q and %q", tt.err, rw.Code, rw.Body, rw.Header().Get("Retry-After"), tt.status, tt.text, tt.retry)
		}
		if strings.Contains(rw.Body.String(), inner) {
			t.Errorf("%v: the answer holds inner text: %s", tt.err, rw.Body)
		}
		if (rw.Code == 401) != (rw.Header().Get("WWW-Authenticate") != "") {
			t.Errorf("%v: %d with challenge %q", tt.err, rw.Code, rw.Header().Get("WWW-Authenticate"))
		}
	}
}
