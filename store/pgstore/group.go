package pgstore

import (
	"encoding/binary"
	"maps"
	"slices"
	"strconv"

	"github.com/perdure/perdure/store"
)

// Types of array elements: PostgreSQL's object numbers, the same everywhere.
const (
	byteaOID     = 17
	int8OID      = 20
	byteaArray   = 1001
	int8ArrayOID = 1016
)

// array is a one-dimensional array in PostgreSQL's binary format.
type array struct {
	elem  uint32
	n     uint32
	nulls uint32 // 1: there are some
	buf   []byte // a header of 20 bytes and the elements
}

const arrayHeader = 20

func (a *array) reset() {
	a.n, a.nulls = 0, 0
	if cap(a.buf) > 1<<20 {
		a.buf = nil // one large group should not be kept for ever
	}
	a.buf = append(a.buf[:0], make([]byte, arrayHeader)...)
}

func (a *array) int8(v int64) {
	a.n++
	a.buf = binary.BigEndian.AppendUint32(a.buf, 8)
	a.buf = binary.BigEndian.AppendUint64(a.buf, uint64(v))
}

func (a *array) bytes(v []byte) {
	a.n++
	a.buf = binary.BigEndian.AppendUint32(a.buf, uint32(len(v)))
	a.buf = append(a.buf, v...)
}

func (a *array) string(v string) {
	a.n++
	a.buf = binary.BigEndian.AppendUint32(a.buf, uint32(len(v)))
	a.buf = append(a.buf, v...)
}

func (a *array) null() {
	a.n++
	a.nulls = 1
	a.buf = binary.BigEndian.AppendUint32(a.buf, 1<<32-1)
}

// encoded returns the array. It is valid until reset.
func (a *array) encoded() []byte {
	h := a.buf[:arrayHeader]
	binary.BigEndian.PutUint32(h[0:], 1) // dimensions
	binary.BigEndian.PutUint32(h[4:], a.nulls)
	binary.BigEndian.PutUint32(h[8:], a.elem)
	if a.n == 0 {
		binary.BigEndian.PutUint32(h[0:], 0)
		return h[:12]
	}
	binary.BigEndian.PutUint32(h[12:], a.n)
	binary.BigEndian.PutUint32(h[16:], 1) // the first index
	return a.buf
}

// group is the statement that commits a number of batches: what is sent is what they
// come to together, each row at most once.
type group struct {
	shards    []uint32 // ascending, each once: the fences
	epochs    []int64  // of shards
	positions map[uint32]int64

	shard, epoch, settled                    array
	putFence, putObject, putKey, putValue    array
	delFence, delObject, delKey              array
	wipeFence, wipeObject, wipeFrom, wipeTo  array
	headFence, headObject, headShard, headNS array
	headName, headSize                       array
	headDue, headRetries, headNext           array
	goneFence, goneObject                    array
	writer, number                           [8]byte
	arrays                                   []*array // all of them
	parts                                    []part
	values                                   [][]byte
}

func newGroup() *group {
	g := &group{positions: map[uint32]int64{}}
	g.makeParts()
	for _, a := range g.arrays {
		a.elem = int8OID
	}
	for _, a := range []*array{
		&g.putObject, &g.putKey, &g.putValue, &g.delObject, &g.delKey, &g.wipeObject, &g.wipeFrom, &g.wipeTo,
		&g.headObject, &g.headName, &g.goneObject,
	} {
		a.elem = byteaOID
	}
	return g
}

// fenceSQL is the beginning of the statement. Nothing but f reads the fences, and
// everything else waits for f. All parts see the database as it was when the statement
// began; that the shards are still ours when their rows are locked means that nobody has
// changed their objects since.
//
// The rows in keys and objects are found by index, whatever the tables hold: see the
// settings of the session.
const fenceSQL = `
WITH l AS MATERIALIZED (
	SELECT shard, epoch, settled FROM perdure.shards WHERE shard = ANY ($3::int8[]) ORDER BY shard FOR SHARE
), a AS MATERIALIZED (
	SELECT array_agg(shard) AS shard, array_agg(epoch) AS epoch, array_agg(settled) AS settled FROM l
), f AS MATERIALIZED (
	SELECT ARRAY(
		SELECT coalesce(a1 = b1 AND a2 = b2 AND a3 = b3, false)
		FROM unnest(a.shard, a.epoch, a.settled, $3, $4::int8[], $5::int8[]) AS z (a1, a2, a3, b1, b2, b3)
	) AS ok FROM a
), n AS (
	INSERT INTO perdure.commits AS c (writer, number, at)
	SELECT $1::int8, $2::int8, now() WHERE true = ANY ((SELECT ok FROM f)::bool[])
	ON CONFLICT (writer) DO UPDATE SET number = excluded.number, at = excluded.at
)`

// part is a part of the statement, which is left out if there is nothing for it. In its
// text ? stands for the next array.
type part struct {
	sql    string
	arrays []*array // the first is the position of each row's fence
}

func (g *group) makeParts() {
	g.parts = []part{
		{`, p AS (
	INSERT INTO perdure.keys (object, key, value)
	SELECT object, key, value FROM unnest(?::int8[], ?::bytea[], ?::bytea[], ?::bytea[]) AS t (f, object, key, value)
	WHERE ((SELECT ok FROM f)::bool[])[f]
	ON CONFLICT (object, key) DO UPDATE SET value = excluded.value
)`, []*array{&g.putFence, &g.putObject, &g.putKey, &g.putValue}},
		{`, d AS (
	DELETE FROM perdure.keys k USING unnest(?::int8[], ?::bytea[], ?::bytea[]) AS t (f, object, key)
	WHERE k.object = t.object AND k.key = t.key AND ((SELECT ok FROM f)::bool[])[t.f]
)`, []*array{&g.delFence, &g.delObject, &g.delKey}},
		{`, w AS (
	DELETE FROM perdure.keys k USING unnest(?::int8[], ?::bytea[], ?::bytea[], ?::bytea[]) AS t (f, object, start, stop)
	WHERE k.object = t.object AND k.key >= t.start AND (t.stop IS NULL OR k.key < t.stop) AND ((SELECT ok FROM f)::bool[])[t.f]
)`, []*array{&g.wipeFence, &g.wipeObject, &g.wipeFrom, &g.wipeTo}},
		{`, h AS (
	INSERT INTO perdure.objects (object, shard, namespace, name, size, due, retries, next)
	SELECT object, shard, namespace, name, size, due, retries, next
	FROM unnest(?::int8[], ?::bytea[], ?::int8[], ?::int8[], ?::bytea[], ?::int8[], ?::int8[], ?::int8[], ?::int8[])
		AS t (f, object, shard, namespace, name, size, due, retries, next)
	WHERE ((SELECT ok FROM f)::bool[])[f]
	ON CONFLICT (object) DO UPDATE SET name = excluded.name, size = excluded.size, due = excluded.due, retries = excluded.retries, next = excluded.next
)`, []*array{&g.headFence, &g.headObject, &g.headShard, &g.headNS, &g.headName, &g.headSize, &g.headDue, &g.headRetries, &g.headNext}},
		{`, g AS (
	DELETE FROM perdure.objects o USING unnest(?::int8[], ?::bytea[]) AS t (f, object)
	WHERE o.object = t.object AND ((SELECT ok FROM f)::bool[])[t.f]
)`, []*array{&g.goneFence, &g.goneObject}},
	}
	g.arrays = []*array{&g.shard, &g.epoch, &g.settled}
	for _, p := range g.parts {
		g.arrays = append(g.arrays, p.arrays...)
	}
}

// statement is a prepared statement: the parts that a group needs.
type statement struct {
	name, sql string
	types     []uint32 // of the parameters
	values    [][]byte // valid until the next build
}

// statement returns the statement that has been built.
func (g *group) statement(writer, number int64) statement {
	binary.BigEndian.PutUint64(g.writer[:], uint64(writer))
	binary.BigEndian.PutUint64(g.number[:], uint64(number))
	st := statement{name: commitName, types: []uint32{int8OID, int8OID}, values: append(g.values[:0], g.writer[:], g.number[:])}
	param := func(a *array) {
		st.values = append(st.values, a.encoded())
		if a.elem == byteaOID {
			st.types = append(st.types, byteaArray)
		} else {
			st.types = append(st.types, int8ArrayOID)
		}
	}
	for _, a := range g.arrays[:3] {
		param(a)
	}
	sql := []byte(fenceSQL)
	for i, p := range g.parts {
		if p.arrays[0].n == 0 {
			continue
		}
		st.name += "-" + strconv.Itoa(i)
		next := 0
		for _, c := range []byte(p.sql) {
			if c != '?' {
				sql = append(sql, c)
				continue
			}
			param(p.arrays[next])
			next++
			sql = strconv.AppendInt(append(sql, '$'), int64(len(st.values)), 10)
		}
	}
	st.sql = string(sql) + "\nSELECT ok FROM f"
	g.values = st.values
	return st
}

// build folds the batches of commits. fenceOf returns what is known about a shard.
func (g *group) build(commits []*commit, fenceOf func(shard uint32) *fence) {
	for _, a := range g.arrays {
		a.reset()
	}
	clear(g.positions)
	g.shards, g.epochs = g.shards[:0], g.epochs[:0]
	changes := fold(commits)
	for _, c := range changes {
		if _, ok := g.positions[c.shard]; !ok {
			g.positions[c.shard] = 0
			g.shards = append(g.shards, c.shard)
		}
	}
	slices.Sort(g.shards)
	for i, n := range g.shards {
		f := fenceOf(n)
		g.positions[n] = int64(i) + 1
		g.epochs = append(g.epochs, f.epoch)
		g.shard.int8(int64(n))
		g.epoch.int8(f.epoch)
		g.settled.int8(f.settled)
	}
	for _, c := range changes {
		g.add(c)
	}
}

// add writes one object's change.
func (g *group) add(c *change) {
	key := objectKey(c.object)
	at := g.positions[c.shard]
	from := ""
	for i := range c.ops {
		op := &c.ops[i]
		switch {
		case !op.Delete:
			if c.wipe {
				g.wipe(at, key[:], from, &op.Key)
				from = op.Key + "\x00" // the next possible key
			}
			g.putFence.int8(at)
			g.putObject.bytes(key[:])
			g.putKey.string(op.Key)
			g.putValue.bytes(op.Value)
		case !c.wipe:
			g.delFence.int8(at)
			g.delObject.bytes(key[:])
			g.delKey.string(op.Key)
		}
	}
	if c.wipe {
		g.wipe(at, key[:], from, nil)
	}
	switch {
	case c.next == nil && c.prev == nil, c.next != nil && c.prev != nil && *c.next == *c.prev:
	case c.next == nil:
		g.goneFence.int8(at)
		g.goneObject.bytes(key[:])
	default:
		g.headFence.int8(at)
		g.headObject.bytes(key[:])
		g.headShard.int8(int64(c.shard))
		g.headNS.int8(int64(c.object.Namespace))
		if c.next.Named {
			g.headName.string(c.next.Name)
		} else {
			g.headName.null()
		}
		g.headSize.int8(c.next.Size)
		g.headRetries.int8(int64(c.next.Alarm.Retries))
		if c.next.Alarm != (store.Alarm{}) {
			g.headDue.int8(c.next.Alarm.Due)
			g.headNext.int8(c.next.Alarm.Next)
		} else {
			g.headDue.null()
			g.headNext.null()
		}
	}
}

// wipe deletes an object's keys from one up to another; nil: to the last.
func (g *group) wipe(at int64, object []byte, from string, to *string) {
	if to != nil && *to <= from {
		return
	}
	g.wipeFence.int8(at)
	g.wipeObject.bytes(object)
	g.wipeFrom.string(from)
	if to == nil {
		g.wipeTo.null()
	} else {
		g.wipeTo.string(*to)
	}
}

// change is what a row of batches does to one object.
type change struct {
	object     store.Object
	shard      uint32
	wipe       bool       // delete all keys that ops do not put
	ops        []store.Op // ascending, each key once
	prev, next *store.Header
}

// fold returns what commits come to, by object, in the order of their first batches.
// Those that change nothing are left out.
func fold(commits []*commit) []*change {
	var changes []*change
	of := make(map[store.Object][]*commit, len(commits))
	var order []store.Object
	for _, c := range commits {
		o := c.batch.Object
		if of[o] == nil {
			order = append(order, o)
		}
		of[o] = append(of[o], c)
	}
	for _, o := range order {
		if c := foldObject(of[o]); c.wipe || len(c.ops) > 0 || !sameHeader(c.prev, c.next) {
			changes = append(changes, c)
		}
	}
	return changes
}

func foldObject(commits []*commit) *change {
	first, last := commits[0], commits[len(commits)-1]
	c := &change{object: first.batch.Object, shard: first.shard, prev: first.batch.Prev, next: last.batch.Header}
	if len(commits) == 1 {
		c.wipe, c.ops = first.batch.DeleteAll, first.batch.Ops
		return c
	}
	ops := map[string]store.Op{}
	for _, commit := range commits {
		if commit.batch.DeleteAll {
			c.wipe = true
			clear(ops)
		}
		for _, op := range commit.batch.Ops {
			ops[op.Key] = op
		}
	}
	for _, key := range slices.Sorted(maps.Keys(ops)) {
		c.ops = append(c.ops, ops[key])
	}
	return c
}

func sameHeader(a, b *store.Header) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}
