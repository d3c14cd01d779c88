package calendar

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/perdure/perdure/calendar/calcache"
	"github.com/perdure/perdure/calendar/caldav"
)

// How a copy stays right:
//
//  1. It is believed for the TTL. Then the calendar's ctag decides: if it did not move,
//     the copy is as good as new; if it did, the delta since the copy's token is fetched.
//  2. Ctag and token are from before the data that they stand for. Data may be newer;
//     the next delta then names an object whose entity tag is known already.
//  3. A fill that was dropped, because somebody wrote meanwhile, starts anew; after a
//     few times what was fetched last is served without becoming the copy.
//  4. A token that was not used for days is not trusted: RFC 6578 has servers refuse one that
//     they have forgotten, but some begin anew instead, and what was deleted is never named.
//  5. Concurrent misses of one user make one fill. A write lets nobody join the fill
//     that is under way.

// fill is a copy that was just compared or fetched.
type fill struct {
	img *image
	at  time.Time
}

const maxFills = 5

// objectsOf returns the copy of a calendar. version is what is known of the calendar's
// version at this moment, nil if nothing is; ask asks the server even if the copy is
// believed.
func (u *User) objectsOf(ctx context.Context, acct Account, c *collection, version *caldav.Version, ask bool) (*image, Freshness, error) {
	head, img, err := u.load(ctx, acct.Source, c.Href)
	if err != nil {
		return nil, Freshness{}, err
	}
	always := acct.AlwaysCheck
	if img != nil && !ask && !always && fresh(head.Checked, u.svc.opts.TTL) {
		return img, Freshness{Age: age(head.Checked)}, nil
	}
	if img != nil && u.svc.outages.now(u.id) {
		return img, Freshness{Stale: true, Age: age(head.Checked)}, nil
	}
	key := u.id + "\x00" + c.Href
	if version != nil {
		if img != nil && same(*version, img.note) {
			err := error(nil)
			if !always || head.Checked == 0 {
				err = u.markChecked(ctx, eventsKey+c.Href, img.version, time.Now())
			}
			return img, Freshness{}, err
		}
		key += "\x00" + version.CTag + "\x00" + version.SyncToken
	}
	f, err := u.svc.fills.do(ctx, key, func(ctx context.Context) (fill, error) {
		return u.fill(ctx, acct, c, version)
	})
	if err != nil {
		return u.afterFailure(ctx, c, img, head, err)
	}
	return f.img, Freshness{Age: max(time.Since(f.at), 0)}, nil
}

// afterFailure serves the last copy if the server is not well.
func (u *User) afterFailure(ctx context.Context, c *collection, img *image, head calcache.Copy, err error) (*image, Freshness, error) {
	switch {
	case errors.Is(err, caldav.ErrNotFound):
		if err := u.drop(ctx, eventsKey+c.Href); err != nil {
			return nil, Freshness{}, err
		}
		if _, err := u.patch(ctx, listKey, 0, nil); err != nil {
			return nil, Freshness{}, err
		}
	case isOutage(err) && ctx.Err() == nil:
		u.svc.outages.note(u.id, time.Now().Add(u.svc.opts.OutagePause))
		if img != nil {
			u.svc.opts.Logger.InfoContext(ctx, "calendar server does not answer, the last copy is served", "user", u.id, "err", err)
			return img, Freshness{Stale: true, Age: age(head.Checked)}, nil
		}
	}
	return nil, Freshness{}, explain("The calendar", err)
}

func fresh(checked int64, ttl time.Duration) bool {
	since := time.Since(time.UnixMilli(checked))
	return checked != 0 && since >= 0 && since < ttl
}

func age(checked int64) time.Duration {
	if checked == 0 {
		return 0
	}
	return max(time.Since(time.UnixMilli(checked)), 0)
}

func same(v caldav.Version, n copyNote) bool {
	if v.CTag != "" && n.CTag != "" {
		return v.CTag == n.CTag
	}
	return v.SyncToken != "" && v.SyncToken == n.Token
}

// fill compares a copy with the server and fetches what differs.
func (u *User) fill(ctx context.Context, acct Account, c *collection, version *caldav.Version) (fill, error) {
	for try := 1; ; try++ {
		head, img, err := u.load(ctx, acct.Source, c.Href)
		if err != nil {
			return fill{}, err
		}
		at := time.Now()
		if version == nil {
			v, err := u.version(ctx, acct, c, img != nil)
			if err != nil {
				return fill{}, err
			}
			version = &v
		}
		if img != nil && same(*version, img.note) {
			return fill{img, at}, u.markChecked(ctx, eventsKey+c.Href, img.version, at)
		}
		next, err := u.fetch(ctx, acct, c, head, img, *version, at)
		if err != nil {
			return fill{}, err
		}
		if next.version != 0 || try == maxFills {
			u.svc.outages.over(u.id)
			return fill{next, at}, nil
		}
		version = nil
	}
}

func (u *User) version(ctx context.Context, acct Account, c *collection, patient bool) (caldav.Version, error) {
	if patient {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, u.svc.opts.Patience)
		defer cancel()
	}
	return acct.Client.GetVersion(ctx, c.Href)
}

// fetch gets the delta and commits it; the image has no version if it was dropped.
func (u *User) fetch(ctx context.Context, acct Account, c *collection, head calcache.Copy, img *image, v caldav.Version, at time.Time) (*image, error) {
	d, err := u.delta(ctx, acct, c, img, head.Checked)
	if err != nil {
		return nil, err
	}
	note := copyNote{Source: acct.Source, CTag: v.CTag, Token: d.token}
	var base *image
	req := calcache.CommitRequest{
		Key: u.copyKey(eventsKey + c.Href), Generation: head.Generation, Version: head.Version, Checked: at.UnixMilli(),
	}
	write := d.changed
	if img != nil {
		base, req.Blobs = img, head.Blobs
	}
	next := base.with(0, note, d.changed)
	if img == nil || next.dead > next.size || len(head.Blobs) > int(next.size/maxBlob)+64 {
		req.Whole, req.Blobs, next.dead = true, nil, 0
		write = make([]*object, 0, len(next.objects))
		for _, o := range next.objects {
			write = append(write, o)
		}
	}
	content, err := encodeObjects(write)
	if err != nil {
		return nil, err
	}
	ids, err := u.stage(ctx, eventsKey+c.Href, content)
	if err != nil {
		return nil, err
	}
	req.Blobs = append(req.Blobs[:len(req.Blobs):len(req.Blobs)], ids...)
	if req.Note, err = cbor.Marshal(note); err != nil {
		return nil, fmt.Errorf("encode copy: %w", err)
	}
	next.version, err = u.commit(ctx, req)
	if err != nil || next.version == 0 {
		return next, err
	}
	u.svc.images.put(imageKey{u.id, c.Href}, next)
	if img != nil && len(d.changed) > 0 {
		change := Change{User: u.id, Calendar: c.ID}
		for _, o := range d.changed {
			change.Events = append(change.Events, o.id)
		}
		u.svc.notify(change)
	}
	return next, nil
}

// delta is what has to be changed in a copy.
type delta struct {
	token   string
	changed []*object
}

// tokenAge is for how long a token is trusted without being used. DAViCal keeps the last one
// and those of seven days.
const tokenAge = 6 * 24 * time.Hour

// delta asks the server what changed since the copy; img is nil if there is none. checked is
// when the copy was compared last, 0 if that is not known.
func (u *User) delta(ctx context.Context, acct Account, c *collection, img *image, checked int64) (delta, error) {
	token := ""
	if img != nil && (acct.AlwaysCheck || checked == 0 || fresh(checked, tokenAge)) {
		token = img.note.Token
	}
	d, err := acct.Client.Sync(ctx, c.Href, token)
	if errors.Is(err, caldav.ErrSyncTokenInvalid) {
		token = ""
		d, err = acct.Client.Sync(ctx, c.Href, "")
	}
	if errors.Is(err, caldav.ErrSyncUnsupported) {
		token = ""
		d.Token = ""
		d.Changed, err = acct.Client.ListObjects(ctx, c.Href, "")
	}
	if err != nil {
		return delta{}, err
	}
	out := delta{token: d.Token}
	var wanted []string
	listed := make(map[string]bool, len(d.Changed))
	for _, e := range d.Changed {
		listed[e.Href] = true
		if img != nil && e.ETag != "" && img.objects[e.Href] != nil && img.objects[e.Href].ETag == e.ETag {
			continue
		}
		wanted = append(wanted, e.Href)
	}
	found := make(map[string]bool, len(wanted))
	for obj, err := range acct.Client.Multiget(ctx, c.Href, wanted) {
		if err != nil {
			return delta{}, err
		}
		found[obj.Href] = true
		out.changed = append(out.changed, newObjectCopy(obj.Href, obj.ETag, obj.Data))
	}
	if img == nil {
		return out, nil
	}
	gone := func(href string) {
		if img.objects[href] != nil {
			out.changed = append(out.changed, &object{Href: href, Gone: true, id: eventID(href)})
		}
	}
	for _, href := range d.Removed {
		gone(href)
	}
	for _, href := range wanted {
		if !found[href] {
			gone(href) // deleted since it was listed
		}
	}
	if token == "" {
		for href := range img.objects {
			if !listed[href] {
				gone(href)
			}
		}
	}
	return out, nil
}
