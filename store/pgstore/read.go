package pgstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/perdure/perdure/store"
)

// wholeSize is the size up to which Load reads an object's keys too, in the same round trip.
const wholeSize = 16 << 10

// Lists and scans are read page by page, so that no connection is held while the caller
// looks at them.
const (
	firstPage = 64
	maxPage   = 1024
	pageBytes = 1 << 20
)

// read runs f on a connection for reads. If the connection fails, or the server does not
// take any, it tries again for a while: reads may be repeated.
func (d *Database) read(ctx context.Context, f func(context.Context, *pgx.Conn) error) error {
	deadline := time.Now().Add(d.s.opts.Patience)
	for wait := (backoff{}); ; {
		err := d.ready(ctx)
		if err == nil {
			err = d.readOnce(ctx, f)
		}
		if err == nil {
			return d.s.broken()
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if broken := d.s.broken(); broken != nil {
			return broken
		}
		if !passing(err) || !wait.until(deadline) {
			return d.wrap(err)
		}
	}
}

func (d *Database) readOnce(ctx context.Context, f func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, d.s.opts.Lease*3/4)
	defer cancel()
	return d.reads.AcquireFunc(ctx, func(c *pgxpool.Conn) error { return use(ctx, c, func(conn *pgx.Conn) error { return f(ctx, conn) }) })
}

// use runs f on a connection of a pool, which is not kept if it has outlived its use.
func use(ctx context.Context, c *pgxpool.Conn, f func(*pgx.Conn) error) error {
	err := f(c.Conn())
	if outlived(err) {
		c.Conn().Close(ctx)
	}
	return err
}

// passing reports whether an error of a read is one of the connection, or of the moment.
func passing(err error) bool {
	if unknown := (errUnknownSwap{}); errors.As(err, &unknown) {
		return false
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return true
	}
	switch pg.Code {
	case "40001", "40P01":
		return true
	}
	return outlived(err) || pg.SeverityUnlocalized == "FATAL" || unreachable(err)
}

const headerColumns = `o.name, o.size, o.due, o.retries, o.next`

// header receives headerColumns.
type header struct {
	name      []byte // nil: not named
	due, next *int64
	size      int64
	retries   int64
}

func (h *header) fields() []any { return []any{&h.name, &h.size, &h.due, &h.retries, &h.next} }

func (h *header) header() *store.Header {
	s := &store.Header{Named: h.name != nil, Name: string(h.name), Size: h.size}
	if h.due != nil && h.next != nil {
		s.Alarm = store.Alarm{Due: *h.due, Retries: int(h.retries), Next: *h.next}
	}
	return s
}

// Load implements store.Store. Header and keys are of one moment.
func (s *Store) Load(ctx context.Context, o store.Object) (l store.Loaded, err error) {
	if err := s.enter(ctx); err != nil {
		return l, fmt.Errorf("load %s: %w", o, err)
	}
	defer s.leave()
	if err = s.settled(ctx, o); err == nil {
		l, err = s.load(ctx, o)
	}
	if err != nil {
		return store.Loaded{}, fmt.Errorf("load %s: %w", o, err)
	}
	return l, nil
}

func (s *Store) load(ctx context.Context, o store.Object) (l store.Loaded, err error) {
	object := objectKey(o)
	err = s.DatabaseOf(s.ShardOf(o)).read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		l = store.Loaded{}
		rows, err := conn.Query(ctx, `SELECT `+headerColumns+`, k.key, k.value FROM perdure.objects o
			LEFT JOIN LATERAL (SELECT key, value FROM perdure.keys WHERE object = o.object AND o.size <= $2 ORDER BY key) k ON true
			WHERE o.object = $1`, object[:], wholeSize)
		if err != nil {
			return err
		}
		defer rows.Close()
		var h header
		var key, value []byte
		fields := append(h.fields(), &key, &value)
		for rows.Next() {
			if err := rows.Scan(fields...); err != nil {
				return err
			}
			if l.Header == nil {
				l.Header = h.header()
			}
			if key != nil {
				l.Entries = append(l.Entries, store.Op{Key: string(key), Value: value})
			}
		}
		l.Whole = l.Header == nil || l.Header.Size <= wholeSize
		return rows.Err()
	})
	return l, err
}

// Get implements store.Store. All values are of one moment.
func (s *Store) Get(ctx context.Context, o store.Object, keys ...string) ([][]byte, error) {
	values := make([][]byte, len(keys))
	if err := s.enter(ctx); err != nil {
		return nil, fmt.Errorf("get from %s: %w", o, err)
	}
	defer s.leave()
	if len(keys) == 0 {
		return values, nil
	}
	object := objectKey(o)
	args := make([][]byte, len(keys))
	for i, k := range keys {
		args[i] = []byte(k)
	}
	err := s.DatabaseOf(s.ShardOf(o)).read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		clear(values)
		rows, err := conn.Query(ctx, `SELECT t.n, k.value FROM unnest($2::bytea[]) WITH ORDINALITY AS t (key, n)
			JOIN perdure.keys k ON k.object = $1 AND k.key = t.key`, object[:], args)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var n int64
			var value []byte
			if err := rows.Scan(&n, &value); err != nil {
				return err
			}
			values[n-1] = value
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("get from %s: %w", o, err)
	}
	return values, nil
}

// Scan implements store.Store. Each page shows one moment.
func (s *Store) Scan(ctx context.Context, o store.Object, r store.Range, yield func(key, value []byte) bool) error {
	if err := s.enter(ctx); err != nil {
		return fmt.Errorf("scan %s: %w", o, err)
	}
	defer s.leave()
	object := objectKey(o)
	d := s.DatabaseOf(s.ShardOf(o))
	left := r.Limit
	for page := firstPage; !r.Empty(); {
		limit := page
		if r.Limit > 0 && left < limit {
			limit = max(left, 1)
		}
		entries, err := d.scan(ctx, object[:], r, limit)
		if err != nil {
			return fmt.Errorf("scan %s: %w", o, err)
		}
		bytes := 0
		for _, e := range entries {
			bytes += len(e.Key) + len(e.Value)
			if !yield([]byte(e.Key), e.Value) {
				return nil
			}
		}
		if len(entries) < limit {
			return nil
		}
		left -= len(entries)
		if last := entries[len(entries)-1].Key; r.Reverse {
			if last == "" {
				return nil // an End of "" would mean none
			}
			r.End = last
		} else {
			r.Start = last + "\x00"
		}
		page = min(maxPage, max(8, pageBytes*len(entries)/max(1, bytes)))
		if r.Limit > 0 && left <= 0 {
			r.Limit = 0 // the caller takes more than was said
		}
	}
	return nil
}

func (d *Database) scan(ctx context.Context, object []byte, r store.Range, limit int) (entries []store.Op, err error) {
	// As four statements each has the plan that it needs.
	sql, args := `SELECT key, value FROM perdure.keys WHERE object = $1 AND key >= $2`, []any{object, []byte(r.Start)}
	if r.End != "" {
		sql, args = sql+` AND key < $4`, append(args, limit, []byte(r.End))
	} else {
		args = append(args, limit)
	}
	if sql += ` ORDER BY key`; r.Reverse {
		sql += ` DESC`
	}
	sql += ` LIMIT $3`
	err = d.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		entries = nil
		rows, err := conn.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var key, value []byte
			if err := rows.Scan(&key, &value); err != nil {
				return err
			}
			entries = append(entries, store.Op{Key: string(key), Value: value})
		}
		return rows.Err()
	})
	return entries, err
}

// Objects implements store.Store. Each page shows one moment of each database.
func (s *Store) Objects(ctx context.Context, namespace uint32, after [32]byte, yield func([32]byte, *store.Header) bool) error {
	type item struct {
		id [32]byte
		h  header
	}
	var lists []*list[item]
	for _, d := range s.dbs {
		start := objectKey(store.Object{Namespace: namespace, ID: after})
		cursor := start[:]
		lists = append(lists, &list[item]{next: func(limit int) (items []item, err error) {
			err = d.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
				items = nil
				rows, err := conn.Query(ctx, `SELECT o.object, `+headerColumns+` FROM perdure.objects o
					WHERE o.object > $1 AND o.object < $2 ORDER BY o.object LIMIT $3`, cursor, namespaceEnd(namespace), limit)
				if err != nil {
					return err
				}
				defer rows.Close()
				for rows.Next() {
					var it item
					var object []byte
					if err := rows.Scan(append([]any{&object}, it.h.fields()...)...); err != nil {
						return err
					}
					if len(object) != objectLen {
						return fmt.Errorf("object key of %d bytes", len(object))
					}
					it.id = [32]byte(object[4:])
					items = append(items, it)
				}
				return rows.Err()
			})
			if len(items) > 0 {
				k := objectKey(store.Object{Namespace: namespace, ID: items[len(items)-1].id})
				cursor = k[:]
			}
			return items, err
		}})
	}
	err := merge(s, ctx, lists, func(a, b item) int { return slices.Compare(a.id[:], b.id[:]) }, func(it item) bool {
		return yield(it.id, it.h.header())
	})
	if err != nil {
		return fmt.Errorf("list objects of namespace %d: %w", namespace, err)
	}
	return nil
}

// Names implements store.Store. Each page shows one moment of each database.
func (s *Store) Names(ctx context.Context, namespace uint32, prefix string, after *string, yield func(string, [32]byte) bool) error {
	type item struct {
		name string
		id   [32]byte
	}
	start := prefix
	if after != nil {
		start = max(prefix, *after+"\x00")
	}
	end := store.PrefixEnd(prefix)
	var lists []*list[item]
	for _, d := range s.dbs {
		start := start
		lists = append(lists, &list[item]{next: func(limit int) (items []item, err error) {
			if (store.Range{Start: start, End: end}).Empty() {
				return nil, nil
			}
			sql := `SELECT name, object FROM perdure.objects WHERE name IS NOT NULL AND namespace = $1 AND name >= $2`
			args := []any{int64(namespace), []byte(start), limit}
			if end != "" {
				sql, args = sql+` AND name < $4`, append(args, []byte(end))
			}
			sql += ` ORDER BY name LIMIT $3`
			err = d.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
				items = nil
				rows, err := conn.Query(ctx, sql, args...)
				if err != nil {
					return err
				}
				defer rows.Close()
				for rows.Next() {
					var name, object []byte
					if err := rows.Scan(&name, &object); err != nil {
						return err
					}
					if len(object) != objectLen {
						return fmt.Errorf("object key of %d bytes", len(object))
					}
					items = append(items, item{string(name), [32]byte(object[4:])})
				}
				return rows.Err()
			})
			if len(items) > 0 {
				start = items[len(items)-1].name + "\x00"
			}
			return items, err
		}})
	}
	err := merge(s, ctx, lists, func(a, b item) int { return strings.Compare(a.name, b.name) }, func(it item) bool {
		return yield(it.name, it.id)
	})
	if err != nil {
		return fmt.Errorf("list names of namespace %d: %w", namespace, err)
	}
	return nil
}

// list is what one database contributes to a list over all of them.
type list[T any] struct {
	next  func(limit int) ([]T, error)
	items []T
	done  bool // there is nothing behind items
	limit int
}

// fill sees to it that there are items, unless there are no more.
func (l *list[T]) fill() error {
	if len(l.items) > 0 || l.done {
		return nil
	}
	l.limit = min(maxPage, max(firstPage, 2*l.limit))
	items, err := l.next(l.limit)
	l.items, l.done = items, len(items) < l.limit
	return err
}

// merge calls yield for the items of sorted lists in their common order until it returns
// false.
func merge[T any](s *Store, ctx context.Context, lists []*list[T], compare func(a, b T) int, yield func(T) bool) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	for {
		var first *list[T]
		for _, l := range lists {
			if err := l.fill(); err != nil {
				return err
			}
			if len(l.items) > 0 && (first == nil || compare(l.items[0], first.items[0]) < 0) {
				first = l
			}
		}
		if first == nil {
			return nil
		}
		item := first.items[0]
		first.items = first.items[1:]
		if !yield(item) {
			return nil
		}
	}
}

// Alarms implements store.Store. Databases that are down contribute nothing if the others
// can be read: their alarms cannot run now.
func (s *Store) Alarms(ctx context.Context, shards []uint32, limit int) ([]store.Due, error) {
	if err := s.enter(ctx); err != nil {
		return nil, fmt.Errorf("list alarms: %w", err)
	}
	defer s.leave()
	if limit <= 0 {
		return nil, nil
	}
	of := make([][]int64, len(s.dbs))
	if shards == nil {
		for i, d := range s.dbs {
			for _, n := range d.Shards() {
				of[i] = append(of[i], int64(n))
			}
		}
	}
	for _, n := range shards {
		if n < s.shards {
			i := int(n) % len(s.dbs)
			of[i] = append(of[i], int64(n))
		}
	}
	var due []store.Due
	var failed error
	asked, failures := 0, 0
	for i, d := range s.dbs {
		if len(of[i]) == 0 {
			continue
		}
		asked++
		found, err := d.alarms(ctx, of[i], limit)
		if err != nil {
			if failures++; !passing(err) || s.broken() != nil || ctx.Err() != nil {
				return nil, fmt.Errorf("list alarms: %w", err)
			}
			failed = err
		}
		due = append(due, found...)
	}
	if failures == asked && failed != nil {
		return nil, fmt.Errorf("list alarms: %w", failed)
	}
	if failed != nil {
		s.log.Error("alarms of a database cannot be read", "err", failed)
	}
	slices.SortStableFunc(due, func(a, b store.Due) int { return cmp.Compare(a.Alarm.Next, b.Alarm.Next) })
	return due[:min(limit, len(due))], nil
}

// alarmsSQL looks at the m-th alarm ($4) of each shard: when enough shards have one by
// some time for the limit ($2) to be reached, there is nothing to read behind that time.
const alarmsSQL = `
WITH mth AS MATERIALIZED (
	SELECT t.shard, (SELECT o.next FROM perdure.objects o WHERE o.shard = t.shard AND o.next IS NOT NULL ORDER BY o.next OFFSET $4 - 1 LIMIT 1) AS next
	FROM unnest($1::int8[]) AS t (shard)
), bound AS MATERIALIZED (
	SELECT coalesce((SELECT next FROM mth WHERE next IS NOT NULL ORDER BY next OFFSET ($2 + $4 - 1) / $4 - 1 LIMIT 1), $3) AS next
)
SELECT a.object, a.due, a.retries, a.next FROM mth
CROSS JOIN LATERAL (
	SELECT o.object, o.due, o.retries, o.next FROM perdure.objects o
	WHERE o.shard = mth.shard AND o.next IS NOT NULL AND o.next <= (SELECT next FROM bound)
	ORDER BY o.next LIMIT $2
) a
ORDER BY a.next LIMIT $2`

func (d *Database) alarms(ctx context.Context, shards []int64, limit int) (due []store.Due, err error) {
	// Twice as many as each shard's share, since some have few.
	mth := 1 + 2*int64(limit)/int64(len(shards))
	err = d.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		due = nil
		rows, err := conn.Query(ctx, alarmsSQL, shards, int64(limit), int64(math.MaxInt64), mth)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var object []byte
			var a store.Alarm
			if err := rows.Scan(&object, &a.Due, &a.Retries, &a.Next); err != nil {
				return err
			}
			if len(object) != objectLen {
				return fmt.Errorf("object key of %d bytes", len(object))
			}
			due = append(due, store.Due{Object: objectOf(object), Alarm: a})
		}
		return rows.Err()
	})
	return due, err
}

// Meta implements store.Store. Metadata is in the first database.
func (s *Store) Meta(ctx context.Context, key string) (v []byte, err error) {
	if err := s.enter(ctx); err != nil {
		return nil, fmt.Errorf("metadata %q: %w", key, err)
	}
	defer s.leave()
	err = s.dbs[0].read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		v = nil
		err := conn.QueryRow(ctx, `SELECT value FROM perdure.meta WHERE key = $1`, []byte(key)).Scan(&v)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("metadata %q: %w", key, err)
	}
	return v, nil
}

// SwapMeta implements store.Store. If the connection breaks meanwhile, it is not known
// whether the record was replaced: the error is store.ErrUnknown.
func (s *Store) SwapMeta(ctx context.Context, key string, old, value []byte) (swapped bool, err error) {
	if err := s.enter(ctx); err != nil {
		return false, fmt.Errorf("swap metadata %q: %w", key, err)
	}
	defer s.leave()
	sql, args := `SELECT 1 WHERE NOT EXISTS (SELECT FROM perdure.meta WHERE key = $1)`, []any{[]byte(key)}
	switch {
	case old == nil && value != nil:
		sql, args = `INSERT INTO perdure.meta VALUES ($1, $2) ON CONFLICT (key) DO NOTHING`, append(args, value)
	case old != nil && value != nil:
		sql, args = `UPDATE perdure.meta SET value = $2 WHERE key = $1 AND value = $3`, append(args, value, old)
	case old != nil:
		sql, args = `DELETE FROM perdure.meta WHERE key = $1 AND value = $2`, append(args, old)
	}
	d := s.dbs[0]
	err = d.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		tag, err := conn.Exec(ctx, sql, args...)
		if err != nil && kindOf(err) == unclear && !pgconn.SafeToRetry(err) {
			return errUnknownSwap{err}
		}
		swapped = tag.RowsAffected() == 1
		return err
	})
	if unknown := (errUnknownSwap{}); errors.As(err, &unknown) {
		err = fmt.Errorf("%w: %w", store.ErrUnknown, unknown.error)
	}
	if err != nil {
		return false, fmt.Errorf("swap metadata %q: %w", key, err)
	}
	return swapped, nil
}

// errUnknownSwap is an error after which a swap must not be repeated.
type errUnknownSwap struct{ error }

func (e errUnknownSwap) Unwrap() error { return e.error }
