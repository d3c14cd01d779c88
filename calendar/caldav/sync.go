package caldav

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Delta is what changed in a calendar since a token. Both lists are in the order of hrefs,
// and no href is in both.
type Delta struct {
	Token   string
	Changed []Entry  // new or changed; an ETag may be ""
	Removed []string // verified to be gone
}

// maxRounds is how many truncated answers one Sync follows.
const maxRounds = 1000

// maxToken is the longest sync token taken.
const maxToken = 4096

// Sync returns what changed since a token, or everything with the token "" (RFC 6578). No
// limit is sent: with one, Nextcloud loses changes without a word.
//
//  1. An object said to be deleted is looked for: Nextcloud says so of objects that were
//     deleted and restored, or moved away and back. Those that exist are in Changed.
//  2. The collection's own entry says nothing about objects.
//  3. A token that goes backwards is no answer to ours: the server was set back, or a
//     calendar of the same name is another one.
//
// Errors: ErrSyncTokenInvalid, after which the caller starts anew with ""; with "" it is
// never returned. ErrSyncUnsupported: use ListObjects. ErrNotFound.
func (c *Client) Sync(ctx context.Context, calendar, token string) (Delta, error) {
	calendar, err := Canonical(collection(calendar))
	if err != nil {
		return Delta{}, fmt.Errorf("sync: %w", err)
	}
	s := &syncing{c: c, calendar: calendar, token: token, changed: map[string]string{}, removed: map[string]bool{}}
	for range maxRounds {
		more, err := s.round(ctx)
		if err != nil {
			return Delta{}, fmt.Errorf("sync: %w", err)
		}
		if more {
			continue
		}
		if token == "" {
			clear(s.removed)
		}
		if err := s.verify(ctx); err != nil {
			return Delta{}, fmt.Errorf("sync: %w", err)
		}
		return s.delta(), nil
	}
	return Delta{}, fmt.Errorf("sync: %w: %s is truncated without end", ErrMalformed, calendar)
}

// syncing is one Sync in several rounds.
type syncing struct {
	c        *Client
	calendar string
	token    string // the newest
	changed  map[string]string
	removed  map[string]bool
}

// round sends one report. more is set where the server truncated its answer, which it may
// do on its own (RFC 6578, section 3.6).
func (s *syncing) round(ctx context.Context) (more bool, err error) {
	w := newBody(dav("sync-collection")).text(propSyncToken, s.token).text(dav("sync-level"), "1").props(propETag)
	r := &request{method: "REPORT", href: s.calendar, header: xmlHeader("0"), body: w.bytes()}
	token, err := s.c.multistatus(ctx, r, func(href string, resp *response) error {
		switch {
		case resp.status == http.StatusInsufficientStorage:
			more = true
		case SameCollection(href, s.calendar), parent(href) != s.calendar, strings.HasSuffix(href, "/"):
		case resp.status == http.StatusNotFound || resp.status == http.StatusGone:
			s.removed[href] = true
			delete(s.changed, href)
		case resp.status != 0 && resp.status/100 != 2:
			return &StatusError{Method: "REPORT", Href: href, Status: resp.status}
		default:
			s.changed[href] = strongETag(resp.text(propETag))
			delete(s.removed, href)
		}
		return nil
	})
	switch {
	case err != nil:
		return false, syncError(err, s.token)
	case token == "" || len(token) > maxToken:
		return false, fmt.Errorf("%w: no sync token from %s", ErrMalformed, s.calendar)
	case backwards(s.token, token):
		return false, fmt.Errorf("%w: %s went back from %s to %s", ErrSyncTokenInvalid, s.calendar, clip(s.token, 100), clip(token, 100))
	case more && token == s.token:
		return false, fmt.Errorf("%w: %s is truncated at the same place", ErrMalformed, s.calendar)
	}
	s.token = token
	return more, nil
}

// syncError tells what a refusal means. The same words mean something else where there was
// no token: a caller that starts anew must not be told to start anew.
func syncError(err error, token string) error {
	var status *StatusError
	if !errors.As(err, &status) {
		return err
	}
	// Our requests are sound, so that a 400 speaks of the token or of the report. A 410 may
	// speak of either the token or the calendar, and without a token of the latter.
	invalid := status.Is(ErrSyncTokenInvalid) || status.Status == http.StatusInsufficientStorage || status.Status == http.StatusBadRequest
	switch {
	case token != "" && (invalid || status.Status == http.StatusGone):
		return fmt.Errorf("%w: %w", ErrSyncTokenInvalid, &opaque{err})
	case invalid, status.has(dav("supported-report")),
		status.Status == http.StatusMethodNotAllowed,
		status.Status == http.StatusUnsupportedMediaType,
		status.Status == http.StatusNotImplemented:
		return fmt.Errorf("%w: %w", ErrSyncUnsupported, &opaque{err})
	}
	return err
}

// opaque hides from errors.Is what an error is, but not its facts from errors.As.
type opaque struct{ err error }

func (o *opaque) Error() string   { return o.err.Error() }
func (o *opaque) As(to any) bool  { return errors.As(o.err, to) }
func (o *opaque) Is(_ error) bool { return false }

// verify looks for what is said to be removed.
func (s *syncing) verify(ctx context.Context) error {
	hrefs := slices.Sorted(maps.Keys(s.removed))
	for chunk := range slices.Chunk(hrefs, s.c.server.chunk) {
		_, err := s.c.ask(ctx, s.calendar, chunk, false, func(href string, resp *response) bool {
			s.changed[href] = strongETag(resp.text(propETag))
			delete(s.removed, href)
			return true
		})
		if err != nil {
			return fmt.Errorf("verify removals: %w", err)
		}
	}
	return nil
}

func (s *syncing) delta() Delta {
	d := Delta{Token: s.token, Removed: slices.Sorted(maps.Keys(s.removed))}
	for href, etag := range s.changed {
		d.Changed = append(d.Changed, Entry{href, etag})
	}
	slices.SortFunc(d.Changed, func(a, b Entry) int { return cmp.Compare(a.Href, b.Href) })
	return d
}

// backwards says whether a token is older than the one before it. Only those that end in a
// number after the same words can be compared, as Nextcloud's http://sabre.io/ns/sync/7.
func backwards(before, now string) bool {
	split := func(token string) (string, uint64, bool) {
		i := strings.LastIndexAny(token, "/:-") + 1
		n, err := strconv.ParseUint(token[i:], 10, 64)
		return token[:i], n, err == nil
	}
	a, n, ok := split(before)
	b, m, ok2 := split(now)
	return ok && ok2 && a == b && m < n
}
