package caldav

import (
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Errors that a caller tells apart. Those that a server's answer causes are found in a
// [StatusError] by errors.Is.
var (
	// ErrUnauthorized: the server refused the credential, now or earlier. It is not sent
	// again: a Nextcloud bans the whole address after ten failures.
	ErrUnauthorized = errors.New("caldav: credential refused")

	// ErrForbidden: the server understood and refuses (403).
	ErrForbidden = errors.New("caldav: forbidden")

	// ErrReadOnly: the user's privileges do not cover the write; nothing was sent, or the
	// server's refusal was found to come from this. It is also an ErrForbidden.
	ErrReadOnly = fmt.Errorf("%w: the calendar is read-only for this user", ErrForbidden)

	// ErrNotFound: there is no such resource, or it is no calendar (any more): Nextcloud
	// keeps a deleted calendar alive at its old address for 30 days.
	ErrNotFound = errors.New("caldav: not found")

	// ErrExists: the name of a new calendar is taken, be it by one in the trash.
	ErrExists = errors.New("caldav: already exists")

	// ErrConflict: the parent collection is missing (409).
	ErrConflict = errors.New("caldav: conflict")

	// ErrPreconditionFailed: the object changed, vanished, or already exists (412). The
	// StatusError's ETag is the present one; it is empty if the object is gone.
	ErrPreconditionFailed = errors.New("caldav: precondition failed")

	// ErrUIDConflict: another object of the calendar has this UID, in Nextcloud also one in
	// the trash, in Cyrus one of any calendar. A new UID and a new name help.
	ErrUIDConflict = errors.New("caldav: UID is in use")

	// ErrInvalid: the server takes the object or request for wrong (400, 415, 422, or a
	// precondition that says so).
	ErrInvalid = errors.New("caldav: invalid data")

	// ErrLocked: 423.
	ErrLocked = errors.New("caldav: locked")

	// ErrQuota: 507, no space.
	ErrQuota = errors.New("caldav: storage is full")

	// ErrRateLimited: 429. RetryAfter is in the StatusError.
	ErrRateLimited = errors.New("caldav: too many requests")

	// ErrUnavailable: 502, 503 or 504, also a Nextcloud in maintenance. It is an ErrServer too.
	ErrUnavailable = fmt.Errorf("%w, temporarily", ErrServer)

	// ErrServer: any other 5xx.
	ErrServer = errors.New("caldav: the server failed")

	// ErrSyncTokenInvalid: forget the token and what was synchronised with it, start anew.
	ErrSyncTokenInvalid = errors.New("caldav: sync token is not valid any more")

	// ErrSyncUnsupported: the collection has no sync-collection; compare entity tags.
	ErrSyncUnsupported = errors.New("caldav: no sync-collection here")

	// ErrNotCalDAV: no CalDAV service was found at the address.
	ErrNotCalDAV = errors.New("caldav: no CalDAV service found")

	// ErrTooLarge: an answer or object is over its limit, see [LimitError].
	ErrTooLarge = errors.New("caldav: too large")

	// ErrMalformed: an answer is not what the protocol says: broken XML, a document type
	// declaration, an href that is none.
	ErrMalformed = errors.New("caldav: malformed answer")

	// ErrInsecureHTTP: the address is plain http and not this machine.
	ErrInsecureHTTP = errors.New("caldav: plain http would send the password in the clear")
)

// StatusError is an answer that is no success. It holds nothing of the request but the
// method and the href, and what the server said is free of the credential.
type StatusError struct {
	Method string
	Href   string
	Status int

	// RetryAfter is how long the server asked to wait; 0 if it didn't say.
	RetryAfter time.Duration

	// Remembered is set when no request was made, because of an earlier 401, or because
	// RetryAfter has not passed.
	Remembered bool

	// Preconditions are the names in the DAV:error body (RFC 4918, section 16).
	Preconditions []xml.Name

	// Message is what the server says to a person, at most 300 bytes. Do not trust it.
	Message string

	// ETag is the entity tag of the resource as it is now; "" if not known.
	ETag string
}

// Error returns one line: status, method, href and the server's message in quotes.
func (e *StatusError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %d %s", e.Method, e.Href, e.Status, http.StatusText(e.Status))
	if e.Remembered {
		b.WriteString(" (from an earlier answer)")
	}
	if e.RetryAfter > 0 {
		fmt.Fprintf(&b, ", retry after %v", e.RetryAfter.Round(time.Second))
	}
	for _, p := range e.Preconditions {
		fmt.Fprintf(&b, ", %s", p.Local)
	}
	if e.Message != "" {
		fmt.Fprintf(&b, ": %q", e.Message)
	}
	return b.String()
}

// Is maps the answer to the package's errors.
func (e *StatusError) Is(target error) bool {
	switch target {
	case ErrUnauthorized:
		return e.Status == http.StatusUnauthorized
	case ErrForbidden:
		return e.Status == http.StatusForbidden && !e.Is(ErrSyncTokenInvalid) && !e.Is(ErrUIDConflict) && !e.Is(ErrExists)
	case ErrNotFound:
		return e.Status == http.StatusNotFound || e.Status == http.StatusGone
	case ErrExists:
		return e.Method == "MKCALENDAR" && (e.Status == http.StatusMethodNotAllowed || e.has(dav("resource-must-be-null")))
	case ErrConflict:
		return e.Status == http.StatusConflict && !e.Is(ErrExists)
	case ErrPreconditionFailed:
		return e.Status == http.StatusPreconditionFailed && !e.Is(ErrUIDConflict)
	case ErrUIDConflict:
		return e.uidConflict()
	case ErrInvalid:
		return e.invalid()
	case ErrLocked:
		return e.Status == http.StatusLocked
	case ErrQuota:
		return e.Status == http.StatusInsufficientStorage && e.Method != "REPORT"
	case ErrTooLarge:
		return e.Status == http.StatusRequestEntityTooLarge || e.has(caldav("max-resource-size"))
	case ErrRateLimited:
		return e.Status == http.StatusTooManyRequests
	case ErrUnavailable:
		return e.Status == http.StatusBadGateway || e.Status == http.StatusServiceUnavailable || e.Status == http.StatusGatewayTimeout
	case ErrServer:
		return e.Status >= 500 && e.Status != http.StatusInsufficientStorage && !e.Is(ErrUIDConflict)
	case ErrSyncTokenInvalid:
		return e.has(dav("valid-sync-token"))
	}
	return false
}

func (e *StatusError) has(name xml.Name) bool { return slices.Contains(e.Preconditions, name) }

// uidConflict knows the preconditions of RFC 4791 and, over all calendars of a user, of
// RFC 6638 (section 3.2.4.1), and what Nextcloud sends instead: 400 with a text, and for a UID whose object is in the trash the database's own error as 500.
func (e *StatusError) uidConflict() bool {
	if e.has(caldav("no-uid-conflict")) || e.has(caldav("unique-scheduling-object-resource")) {
		return true
	}
	if e.Method != http.MethodPut {
		return false
	}
	msg := strings.ToLower(e.Message)
	switch e.Status {
	case http.StatusBadRequest:
		return strings.Contains(msg, "uid already exists")
	case http.StatusInternalServerError:
		return strings.Contains(msg, "uid") && (strings.Contains(msg, "unique constraint") || strings.Contains(msg, "duplicate"))
	}
	return false
}

func (e *StatusError) invalid() bool {
	switch e.Status {
	case http.StatusBadRequest, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return !e.uidConflict()
	}
	for _, name := range []string{"valid-calendar-data", "valid-calendar-object-resource", "supported-calendar-data",
		"supported-calendar-component", "min-date-time", "max-date-time", "max-instances", "max-attendees-per-instance"} {
		if e.has(caldav(name)) {
			return true
		}
	}
	return false
}

// OriginError is a redirect or href that leads away from the configured origin. Nothing
// was sent there. Often a proxy in front of the server makes it answer with http or with
// an inner name; the server's own idea of its address has to be set right then.
type OriginError struct {
	Kind   string // "redirect", "href" or what else named the address
	Origin string // the configured one
	Target string // where it leads: scheme and host only
}

// Error names both origins.
func (e *OriginError) Error() string {
	return fmt.Sprintf("caldav: %s leads away from %s to %s", e.Kind, e.Origin, clip(e.Target, 200))
}

// LimitError says which limit an answer is over. It is an [ErrTooLarge].
type LimitError struct {
	What  string // "answer", "object", "property", "depth", "elements"
	Limit int64
}

// Error names the limit.
func (e *LimitError) Error() string {
	return fmt.Sprintf("caldav: %s over its limit of %d", e.What, e.Limit)
}

// Is makes a LimitError an ErrTooLarge.
func (e *LimitError) Is(target error) bool { return target == ErrTooLarge }

// TransportError says that no answer came, or not all of it: the network, TLS, a
// cancelled context, a timeout. It unwraps to the cause.
type TransportError struct {
	Method string
	Href   string

	// Unknown is set for a write that may have happened. Read before writing again.
	Unknown bool

	Err error
}

// Error returns method, href and cause.
func (e *TransportError) Error() string {
	return fmt.Sprintf("%s %s: %v", e.Method, e.Href, e.Err)
}

// Unwrap returns the cause.
func (e *TransportError) Unwrap() error { return e.Err }

// StoredError says that a write was done but that reading the result back was not
// possible. The caller must not repeat the write.
type StoredError struct {
	Href string
	Err  error
}

// Error returns the href and the cause.
func (e *StoredError) Error() string {
	return fmt.Sprintf("caldav: %s was stored, but not read back: %v", e.Href, e.Err)
}

// Unwrap returns the cause.
func (e *StoredError) Unwrap() error { return e.Err }

// PropError says which properties a server refused. Nothing was changed then
// (RFC 4918, section 9.2).
type PropError struct {
	Href  string
	Props []PropStatus // the causes; those that failed because of them (424) are left out
}

// PropStatus is the fate of one property.
type PropStatus struct {
	Name   xml.Name
	Status int
}

// Error lists the properties.
func (e *PropError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "PROPPATCH %s:", e.Href)
	for i, p := range e.Props {
		if i == 8 {
			fmt.Fprintf(&b, " and %d more", len(e.Props)-i)
			break
		}
		fmt.Fprintf(&b, " %s %d", clip(p.Name.Local, 60), p.Status)
	}
	return b.String()
}

// Is makes a PropError an ErrForbidden where the server refused with 403.
func (e *PropError) Is(target error) bool {
	return target == ErrForbidden && slices.ContainsFunc(e.Props, func(p PropStatus) bool { return p.Status == http.StatusForbidden })
}

// clip cuts a text from a server to at most n bytes of printable characters.
func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}
