package calendar

import (
	"context"
	"errors"
	"strings"

	"github.com/perdure/perdure/calendar/caldav"
	"github.com/perdure/perdure/calendar/ical"
)

// errDelete is what a change returns that leaves nothing of the object.
var errDelete = errors.New("calendar: nothing is left")

// sameETag compares a caller's entity tag with the server's, quotes or not.
func sameETag(a, b string) bool {
	trim := func(s string) string { return strings.Trim(strings.TrimPrefix(strings.TrimSpace(s), "W/"), `"`) }
	return trim(a) == trim(b)
}

var changedMeanwhile = &Problem{Kind: ErrConflict, Field: "etag",
	Text: "the event was changed since you read it. Read it again, then repeat the change if it is still right."}

// rewrite reads the object fresh, lets change change it, and writes it back if nobody
// else did meanwhile; else once more. change says whether there is anything to write, and
// errDelete if nothing is left.
func (t *target) rewrite(ctx context.Context, how Edit, change func(*ical.Calendar) (bool, error),
	result func(*ical.Calendar) (Result, error)) (Result, error) {
	var err error
	for range 2 {
		var obj caldav.Object
		obj, err = t.acct.Client.GetObject(ctx, t.o.Href)
		if errors.Is(err, caldav.ErrNotFound) {
			t.u.written(ctx, t.c, 0, nil)
		}
		if err != nil {
			return Result{}, explain("The event", err)
		}
		if how.ETag != "" && !sameETag(how.ETag, obj.ETag) {
			return Result{}, changedMeanwhile
		}
		cal, parseErr := ical.Parse(obj.Data, nil)
		if parseErr != nil {
			return Result{}, unreadable(parseErr)
		}
		changed, changeErr := change(cal)
		switch {
		case errors.Is(changeErr, errDelete):
			if err = t.remove(ctx, obj); err == nil {
				return result(cal)
			}
		case changeErr != nil:
			return Result{}, changeErr
		case !changed: // it is so already
			t.o = newObjectCopy(obj.Href, obj.ETag, obj.Data)
			return result(cal)
		default:
			if err = t.store(ctx, obj.Href, obj.ETag, cal.Bytes()); err == nil {
				return result(cal)
			}
		}
		if !errors.Is(err, caldav.ErrPreconditionFailed) {
			return Result{}, err
		}
	}
	return Result{}, err
}

// remove deletes the object.
func (t *target) remove(ctx context.Context, obj caldav.Object) error {
	head, err := t.u.head(ctx, eventsKey+t.c.Href)
	if err != nil {
		return err
	}
	err = t.acct.Client.DeleteObject(ctx, obj.Href, obj.ETag)
	if err != nil && !errors.Is(err, caldav.ErrNotFound) {
		t.u.written(ctx, t.c, 0, nil)
		return explain("The event", err)
	}
	return t.u.written(ctx, t.c, head.Version, &object{Href: obj.Href, Gone: true, id: eventID(obj.Href)})
}

// store writes the object, new if etag is "", and puts what the server stored into the
// copy.
func (t *target) store(ctx context.Context, href, etag string, data []byte) error {
	head, err := t.u.head(ctx, eventsKey+t.c.Href) // from before the write
	if err != nil {
		return err
	}
	var obj caldav.Object
	if etag == "" {
		obj, err = t.acct.Client.CreateObject(ctx, href, data)
		var lost *caldav.TransportError
		if errors.As(err, &lost) && lost.Unknown && ctx.Err() == nil {
			// The name is ours alone, so whether it is there tells what happened.
			if found, getErr := t.acct.Client.GetObject(ctx, href); getErr == nil {
				obj, err = found, nil
			}
		}
	} else {
		obj, err = t.acct.Client.UpdateObject(ctx, href, etag, data)
	}
	if err != nil {
		if writeErr := t.u.written(ctx, t.c, 0, nil); writeErr != nil {
			return writeErr
		}
		return explain("The event", err)
	}
	t.o = newObjectCopy(obj.Href, obj.ETag, obj.Data)
	return t.u.written(ctx, t.c, head.Version, t.o)
}

// written brings the copy in line after a write. version is that of the copy before
// the write, o what was written; nil if that is not known.
func (u *User) written(ctx context.Context, c *collection, version uint64, o *object) error {
	ctx = context.WithoutCancel(ctx) // the write has happened
	u.svc.fills.forget(u.id + "\x00" + c.Href)
	var blob []byte
	if o != nil {
		var err error
		if blob, err = encodeObjects([]*object{o}); err != nil {
			return err
		}
	}
	key := imageKey{u.id, c.Href}
	img := u.svc.images.get(key)
	now, err := u.patch(ctx, eventsKey+c.Href, version, blob)
	if err != nil {
		return err
	}
	if now != 0 && img != nil && img.version == version {
		u.svc.images.put(key, img.with(now, img.note, []*object{o}))
	}
	change := Change{User: u.id, Calendar: c.ID, Ours: true}
	if o != nil {
		change.Events = []string{o.id}
		u.svc.notify(change)
	}
	return nil
}
