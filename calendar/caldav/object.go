package caldav

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// Object is a calendar object resource: raw iCalendar, never looked into here. What came
// in an XML answer has "\n" for line ends unless the server escaped them.
type Object struct {
	Href string
	ETag string
	Data []byte
}

// Entry is an object without its data. ETag may be "" if the server didn't tell.
type Entry struct {
	Href string
	ETag string
}

// GetObject reads one object, byte for byte as it is stored. ErrNotFound if there is none.
func (c *Client) GetObject(ctx context.Context, href string) (Object, error) {
	href, err := Canonical(href)
	var obj Object
	if err == nil {
		obj, err = c.get(ctx, href)
	}
	if err != nil {
		return Object{}, fmt.Errorf("get object: %w", err)
	}
	return obj, nil
}

func (c *Client) get(ctx context.Context, href string) (Object, error) {
	obj := Object{Href: href}
	// Compression would make the entity tag a weak one.
	r := &request{method: http.MethodGet, href: href, header: http.Header{
		"Accept":          {"text/calendar"},
		"Accept-Encoding": {"identity"},
	}}
	err := c.exchange(ctx, r, func(a *answer) (err error) {
		obj.ETag = headerETag(a.Header)
		obj.Data, err = c.readCalendar(r, a)
		return err
	})
	return obj, err
}

// readCalendar reads an answer that is iCalendar. A login page of a proxy and a multistatus
// are not, though they come with 2xx.
func (c *Client) readCalendar(r *request, a *answer) ([]byte, error) {
	kind, _, _ := strings.Cut(a.Header.Get("Content-Type"), ";")
	switch strings.ToLower(strings.TrimSpace(kind)) {
	case "text/calendar", "application/octet-stream", "":
	default:
		return nil, c.wrap(r, fmt.Errorf("%w: %s instead of text/calendar", ErrMalformed, clip(kind, 60)), false)
	}
	if a.StatusCode != http.StatusOK {
		return nil, c.wrap(r, fmt.Errorf("%w: %d instead of 200", ErrMalformed, a.StatusCode), false)
	}
	return c.read(r, a, c.server.object)
}

// CreateObject stores a new object. The href is best a [Join] of the calendar and a random
// name with ".ics", and the UID a new one too: Nextcloud's trash holds on to the names and
// UIDs of deleted objects.
//
// The result is what the server stored. Where it changed the data, which it shows by
// giving no strong entity tag (RFC 4791, section 5.3.4), the object is read back; if that
// fails the error is a [StoredError] and the object exists. Not all servers show it: see
// [Client.ReadingBack]. Data of the result may be the caller's own slice.
//
// Errors: ErrPreconditionFailed if the href is taken, ErrUIDConflict, ErrReadOnly,
// ErrInvalid, ErrTooLarge, ErrNotFound if the calendar is gone; a [TransportError] with
// Unknown set if the object may have been stored.
func (c *Client) CreateObject(ctx context.Context, href string, data []byte) (Object, error) {
	obj, err := c.put(ctx, href, http.Header{"If-None-Match": {"*"}}, "bind", data)
	if err != nil {
		return Object{}, fmt.Errorf("create object: %w", err)
	}
	return obj, nil
}

// UpdateObject replaces an object if it still has the entity tag that the caller read. Its
// result and errors are those of CreateObject, but ErrPreconditionFailed means that the
// object was changed or deleted in between.
func (c *Client) UpdateObject(ctx context.Context, href, etag string, data []byte) (Object, error) {
	etag = strongETag(etag)
	if etag == "" {
		return Object{}, fmt.Errorf("update object: %w: no entity tag given for %s", ErrPreconditionFailed, href)
	}
	obj, err := c.put(ctx, href, http.Header{"If-Match": {etag}}, "write-content", data)
	if err != nil {
		return Object{}, fmt.Errorf("update object: %w", err)
	}
	return obj, nil
}

func (c *Client) put(ctx context.Context, href string, header http.Header, need string, data []byte) (Object, error) {
	href, err := Canonical(href)
	if err != nil {
		return Object{}, err
	}
	if int64(len(data)) > c.server.object {
		return Object{}, &LimitError{What: "object", Limit: c.server.object}
	}
	obj := Object{Href: href, Data: data}
	header.Set("Content-Type", "text/calendar; charset=utf-8")
	r := &request{method: http.MethodPut, href: href, header: header, body: data}
	err = c.write(ctx, r, need, func(a *answer) error {
		obj.ETag = storedETag(a.Header)
		return nil
	})
	if err != nil {
		return Object{}, err
	}
	if obj.ETag == "" || c.careful {
		if obj, err = c.get(ctx, href); err != nil {
			return Object{}, &StoredError{Href: href, Err: err}
		}
	}
	return obj, nil
}

// DeleteObject deletes an object if it still has the entity tag; with "" whatever is there.
//
// Errors: ErrPreconditionFailed, ErrNotFound, ErrReadOnly; ErrForbidden also where
// Nextcloud's trash already holds an object of that name, which then stays.
func (c *Client) DeleteObject(ctx context.Context, href, etag string) error {
	href, err := Canonical(href)
	if err == nil {
		r := &request{method: http.MethodDelete, href: href, header: http.Header{}}
		if etag = strongETag(etag); etag != "" {
			r.header.Set("If-Match", etag)
		}
		err = c.write(ctx, r, "unbind", func(*answer) error { return nil })
	}
	if err != nil {
		return fmt.Errorf("delete object: %w", err)
	}
	return nil
}
