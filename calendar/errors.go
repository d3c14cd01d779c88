package calendar

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/perdure/perdure/calendar/caldav"
)

// Errors that a caller tells apart, by errors.Is. They come inside a [*Problem],
// whose text is for a person.
var (
	// ErrInvalid: what was asked for can't be done as it was written.
	ErrInvalid = errors.New("calendar: invalid request")

	// ErrNotFound: there is no such calendar, event or occurrence.
	ErrNotFound = errors.New("calendar: not found")

	// ErrForbidden: the user may not do that; the calendar is read-only or not his.
	ErrForbidden = errors.New("calendar: not permitted")

	// ErrConflict: somebody else changed what was to be changed. Nothing was written.
	ErrConflict = errors.New("calendar: changed meanwhile")

	// ErrLocked: the server has locked the calendar.
	ErrLocked = errors.New("calendar: locked")

	// ErrUnauthorized: the server refuses the user's credential.
	ErrUnauthorized = errors.New("calendar: credential refused")

	// ErrBusy: the server wants fewer requests; try later.
	ErrBusy = errors.New("calendar: too many requests")

	// ErrUnavailable: the server does not answer as it should, and there was no copy to serve.
	ErrUnavailable = errors.New("calendar: server unavailable")

	// ErrUncertain: the write may have been done. Read before writing again.
	ErrUncertain = errors.New("calendar: outcome unknown")
)

// Problem is an error for a person: what was wrong, and what to send instead. Its
// text holds no credential, and nothing from a server but ids and an organizer's address.
type Problem struct {
	Kind  error         // one of the errors above
	Field string        // the input that was wrong, as the caller calls it; may be empty
	Text  string        // a sentence or two
	Retry time.Duration // when to try again, if the server said so
	Err   error         // the cause, for logs only; may be nil
}

// Error returns the text, after the field if there is one.
func (p *Problem) Error() string {
	if p.Field != "" {
		return p.Field + ": " + p.Text
	}
	return p.Text
}

// Is finds the kind.
func (p *Problem) Is(target error) bool { return target == p.Kind }

// Unwrap returns the cause.
func (p *Problem) Unwrap() error { return p.Err }

// invalid says what is wrong with a field and what to send.
func invalid(field, format string, args ...any) error {
	return &Problem{Kind: ErrInvalid, Field: field, Text: fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) error {
	return &Problem{Kind: ErrNotFound, Text: fmt.Sprintf(format, args...)}
}

// unasked is the answer where a copy does not have something that the server, which can't be
// asked, may have by now.
func unasked(format string, args ...any) error {
	return &Problem{Kind: ErrUnavailable, Text: fmt.Sprintf(format, args...) + " It may have been made since then; try again later."}
}

func forbidden(format string, args ...any) error {
	return &Problem{Kind: ErrForbidden, Text: fmt.Sprintf(format, args...)}
}

// explain is the one place where what the client reports becomes words for a person.
// What is a Problem already passes, and a caller's own cancellation, unless it may have come
// too late for a write.
func explain(what string, err error) error {
	var p *Problem
	if err == nil || errors.As(err, &p) {
		return err
	}
	var transport *caldav.TransportError
	if errors.Is(err, context.Canceled) && !(errors.As(err, &transport) && transport.Unknown) {
		return err
	}
	p = &Problem{Err: err}
	var status *caldav.StatusError
	if errors.As(err, &status) {
		p.Retry = status.RetryAfter
	}
	var stored *caldav.StoredError
	switch {
	case errors.As(err, &stored):
		p.Kind, p.Text = ErrUncertain, what+" was saved, but could not be read back. List again before you repeat the change."
	case errors.As(err, &transport) && transport.Unknown:
		p.Kind, p.Text = ErrUncertain, "The calendar server's answer was lost; "+what+" may have been changed or not. List again before you repeat the change."
	case errors.Is(err, caldav.ErrUnauthorized):
		p.Kind, p.Text = ErrUnauthorized, "The calendar server refuses the user name or app password. Log in again, or correct the app password where it is configured; this one is not tried again."
	case errors.Is(err, caldav.ErrReadOnly):
		p.Kind, p.Text = ErrForbidden, "The calendar is read-only for this user."
	case errors.Is(err, caldav.ErrPreconditionFailed):
		p.Kind, p.Text = ErrConflict, what+" was changed by someone else meanwhile. Read it again and repeat the change."
	case errors.Is(err, caldav.ErrNotFound):
		p.Kind, p.Text = ErrNotFound, what+" does not exist on the calendar server (any more)."
	case errors.Is(err, caldav.ErrExists), errors.Is(err, caldav.ErrUIDConflict):
		p.Kind, p.Text = ErrConflict, what+" exists already."
	case errors.Is(err, caldav.ErrLocked):
		p.Kind, p.Text = ErrLocked, "The calendar is locked. Try again later."
	case errors.Is(err, caldav.ErrRateLimited):
		p.Kind, p.Text = ErrBusy, "The calendar server wants fewer requests. Try again later."
	case errors.Is(err, caldav.ErrQuota):
		p.Kind, p.Text = ErrForbidden, "The calendar server has no space left for this user."
	case errors.Is(err, caldav.ErrTooLarge):
		p.Kind, p.Text = ErrInvalid, what+" is too large."
	case errors.Is(err, caldav.ErrInvalid):
		p.Kind, p.Text = ErrInvalid, "The calendar server does not accept "+lowerFirst(what)+" as it was sent."
	case errors.Is(err, caldav.ErrForbidden):
		p.Kind, p.Text = ErrForbidden, "The calendar server does not permit this."
	case errors.Is(err, caldav.ErrServer), errors.Is(err, caldav.ErrMalformed), errors.As(err, &transport),
		errors.Is(err, caldav.ErrNotCalDAV), errors.Is(err, context.DeadlineExceeded):
		p.Kind, p.Text = ErrUnavailable, "The calendar server does not answer as it should. Try again later."
	default:
		return err
	}
	return p
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }

// isOutage says whether a read failed because the server is not well, so that an older
// copy is better than no answer. A refused credential and a missing calendar are answers.
func isOutage(err error) bool {
	var transport *caldav.TransportError
	var status *caldav.StatusError
	switch {
	case errors.Is(err, caldav.ErrUnauthorized), errors.Is(err, context.Canceled):
		return false
	case errors.As(err, &transport), errors.Is(err, caldav.ErrServer), errors.Is(err, caldav.ErrRateLimited),
		errors.Is(err, caldav.ErrMalformed), errors.Is(err, caldav.ErrTooLarge), errors.Is(err, context.DeadlineExceeded):
		return true
	case errors.As(err, &status):
		return status.Status >= http.StatusInternalServerError
	}
	return false
}
