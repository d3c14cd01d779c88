package worker

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/accounts"
	"github.com/perdure/perdure/calendar/calmcp"
	"github.com/perdure/perdure/durable"
)

// refusal is an answer instead of what was asked for; its text is for a stranger.
type refusal struct {
	status    int
	text      string
	challenge string        // how to log in, for 401
	wait      time.Duration // when to come again
}

func (e *refusal) Error() string { return e.text }

// statuses are those of what a person can act upon. The texts of a [calendar.Problem] are
// for strangers' eyes; nothing else that an error says leaves the process.
var statuses = []struct {
	kind   error
	status int
}{
	{calendar.ErrInvalid, http.StatusBadRequest},
	{calendar.ErrNotFound, http.StatusNotFound},
	{calendar.ErrForbidden, http.StatusForbidden},
	{calendar.ErrConflict, http.StatusConflict},
	{calendar.ErrLocked, http.StatusLocked},
	{calendar.ErrUnauthorized, http.StatusBadGateway}, // not the caller's credential with us
	{calendar.ErrBusy, http.StatusServiceUnavailable},
	{calendar.ErrUnavailable, http.StatusServiceUnavailable},
	{calendar.ErrUncertain, http.StatusGatewayTimeout},
}

// passing are errors that another attempt may not meet.
var passing = []error{
	durable.ErrOverloaded, durable.ErrShutdown, durable.ErrClosed, calendar.ErrClosed,
	context.Canceled, context.DeadlineExceeded,
}

// problem makes of any error what a client gets to know of it. It is the one place where
// errors become HTTP; ours says that somebody should look at the log.
func problem(err error) (answer *refusal, ours bool) {
	if errors.As(err, &answer) {
		return answer, false
	}
	var p *calendar.Problem
	if errors.As(err, &p) {
		for _, s := range statuses {
			if errors.Is(p.Kind, s.kind) {
				return &refusal{status: s.status, text: p.Error(), wait: p.Retry}, false
			}
		}
	}
	if errors.Is(err, accounts.ErrNoUser) { // removed since the login
		return errToken, false
	}
	for _, e := range passing {
		if errors.Is(err, e) {
			return &refusal{status: http.StatusServiceUnavailable, text: "The server is busy or ending", wait: time.Second}, false
		}
	}
	return &refusal{status: http.StatusInternalServerError, text: "Internal error"}, true
}

// refuse answers with an error. Who it was that failed to log in is not logged: people type
// secrets where names belong.
func (w *Worker) refuse(rw http.ResponseWriter, r *http.Request, err error) {
	answer, ours := problem(err)
	if ours {
		w.log.LogAttrs(r.Context(), slog.LevelError, "request failed", slog.String("method", r.Method), slog.Any("error", err))
	}
	var p *calendar.Problem
	if errors.As(err, &p) && p.Err != nil && (p.Kind == calendar.ErrUnavailable || p.Kind == calendar.ErrUncertain) {
		w.log.LogAttrs(r.Context(), slog.LevelWarn, "the calendar server does not answer as it should", slog.Any("error", p.Err))
	}
	if !ours && answer != err {
		w.log.LogAttrs(r.Context(), slog.LevelDebug, "request refused", slog.String("method", r.Method), slog.Int("status", answer.status), slog.Any("error", err))
	}
	if answer.challenge != "" {
		rw.Header().Set("WWW-Authenticate", answer.challenge)
	}
	if answer.wait > 0 {
		rw.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(answer.wait.Seconds()))))
	}
	fail(rw, answer.status, answer.text)
}

func fail(rw http.ResponseWriter, code int, text string) {
	writeJSON(rw, code, map[string]string{"error": text})
}

func writeJSON(rw http.ResponseWriter, code int, v any) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(code)
	data, _ := calmcp.Marshal(v) // ours: it holds nothing that can't be written
	rw.Write(append(data, '\n'))
}
