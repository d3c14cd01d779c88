package davserver

import (
	"context"
	"encoding/binary"
	"fmt"
	"sort"

	"github.com/perdure/perdure/durable"
)

// calendar is an object of class Calendar: one calendar with its objects. Its
// methods are what the protocol needs of storage; parsing and matching happen
// outside, where they hold up nobody.
//
// What it keeps:
//
//  1. An object, its UID, its entry in the index and its entry in the change log
//     change in one turn. What can be refused is checked before anything is
//     written, and everything that grows is one PutMany: all or nothing.
//  2. Each change takes the next number and leaves one entry in the log under it,
//     so the log holds exactly the numbers (Seq-keepChanges, Seq].
//  3. A calendar without its record does not exist: whoever still has its id after
//     it was deleted is told so and writes nothing.
type calendar struct{ st *durable.State }

func newCalendar(_ context.Context, st *durable.State) (*calendar, error) { return &calendar{st}, nil }

// Keys of a Calendar; doc.go has them as a table.
const (
	recordKey    = "c"
	propPrefix   = "p"
	objectPrefix = "o"
	dataPrefix   = "d"
	uidPrefix    = "u"
	indexPrefix  = "x"
	logPrefix    = "l"
)

const (
	keepChanges    = 10_000
	pieceBytes     = 120 << 10 // a value is at most 128 KiB, its encoding included
	maxProperties  = 100
	propertyBytes  = 64 << 10
	propertiesSum  = 256 << 10
	readBytes      = 4 << 20 // data in one answer of Read
	batchKeys      = 100     // keys in one storage call
	maxNameBytes   = 512
	maxUIDBytes    = 2000 // a key is at most 2 KiB
	maxObjectBytes = 1 << 20
)

type calendarRecord struct {
	Created    int64    `cbor:"1,keyasint"` // Unix milliseconds
	Components []string `cbor:"2,keyasint"` // VEVENT, VTODO, VJOURNAL
	Seq        uint64   `cbor:"3,keyasint"` // number of the last change
	Modified   int64    `cbor:"4,keyasint"` // Unix milliseconds
}

// objectRecord is an object without its data.
type objectRecord struct {
	ETag      string `cbor:"1,keyasint"` // without quotes
	Size      int    `cbor:"2,keyasint"`
	UID       string `cbor:"3,keyasint"`
	Component string `cbor:"4,keyasint"`
	Modified  int64  `cbor:"5,keyasint"` // Unix milliseconds
	Span      span   `cbor:"6,keyasint"`
}

func (r *objectRecord) pieces() int { return (r.Size + pieceBytes - 1) / pieceBytes }

// Arguments and results of the calls.
type (
	newCalendarArgs struct {
		Components []string
		Properties map[string]string
	}
	calendarInfo struct {
		ID         string
		Record     calendarRecord
		Properties map[string]string // by propertyKey, XML
	}
	patchArgs struct {
		Set    map[string]string
		Remove []string
	}
	putArgs struct {
		Name       string
		Data       []byte
		ETag       string
		UID        string
		Component  string
		Span       span
		Conditions conditions
	}
	putResult struct {
		Created     bool
		Unchanged   bool   // the object had these bytes already
		ConflictsAt string // the name of the object that has the UID
	}
	removeArgs struct {
		Name       string
		Conditions conditions
	}
	readArgs struct {
		Names []string
		Data  bool
	}
	object struct {
		Name   string
		Record objectRecord
		Data   []byte
	}
	readResult struct {
		Objects []object
		Looked  int // how many of the names were looked at; the rest is for the next call
	}
	listArgs struct {
		After string
		Limit int
	}
	rangeArgs struct {
		Start, End int64      // [Start, End)
		From       indexPlace // where the page before ended; zero for the first
		Limit      int
	}
	rangePage struct {
		Names []string
		Next  indexPlace
		More  bool
	}
	indexPlace struct {
		Level int
		After []byte // a key, which is no text; empty before the first of the level
	}
	changesArgs struct {
		Since uint64
		Limit int // entries of the log; 0: all
	}
	changesResult struct {
		Names []string // each once, in the order of the last change
		Seq   uint64   // the changes up to this number are told
		More  bool
	}
)

func objectKey(name string) string { return objectPrefix + name }

func pieceKeys(name string, n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = dataPrefix + name + "\x00" + string(rune('0'+i))
	}
	return keys
}

func logKey(seq uint64) string {
	return string(binary.BigEndian.AppendUint64([]byte(logPrefix), seq))
}

// Create makes the calendar.
func (c *calendar) Create(ctx context.Context, args newCalendarArgs) error {
	now := c.st.Now().UnixMilli()
	entries := map[string]any{recordKey: calendarRecord{Created: now, Modified: now, Components: args.Components}}
	if err := checkProperties(args.Properties); err != nil {
		return err
	}
	for name, xml := range args.Properties {
		entries[propPrefix+name] = xml
	}
	return c.write(ctx, "create calendar", entries)
}

// Erase deletes the calendar with all that is in it.
func (c *calendar) Erase(ctx context.Context) error {
	if err := c.st.Storage().DeleteAll(ctx); err != nil {
		return fmt.Errorf("erase calendar: %w", err)
	}
	return nil
}

// Info returns what there is to know of the calendar without its objects.
func (c *calendar) Info(ctx context.Context) (calendarInfo, error) {
	rec, err := c.record(ctx)
	if err != nil {
		return calendarInfo{}, err
	}
	props, err := c.properties(ctx)
	return calendarInfo{ID: c.st.ID().String(), Record: rec, Properties: props}, err
}

// Patch changes properties.
func (c *calendar) Patch(ctx context.Context, args patchArgs) error {
	rec, err := c.record(ctx)
	if err != nil {
		return err
	}
	props, err := c.properties(ctx)
	if err != nil {
		return err
	}
	entries := make(map[string]any)
	var gone []string
	for name, xml := range args.Set {
		if props[name] != xml {
			entries[propPrefix+name] = xml
		}
		props[name] = xml
	}
	for _, name := range args.Remove {
		if _, had := props[name]; had {
			gone = append(gone, propPrefix+name)
			delete(props, name)
		}
	}
	if len(entries)+len(gone) == 0 {
		return nil
	}
	if err := checkProperties(props); err != nil {
		return err
	}
	return c.commit(ctx, "change properties", rec, "", entries, gone)
}

func checkProperties(props map[string]string) error {
	sum := 0
	for name, xml := range props {
		if len(name) > maxNameBytes || len(xml) > propertyBytes {
			return errProperties
		}
		sum += len(name) + len(xml)
	}
	if len(props) > maxProperties || sum > propertiesSum {
		return errProperties
	}
	return nil
}

// Put stores an object as it was sent. It returns errCondition.
func (c *calendar) Put(ctx context.Context, args putArgs) (putResult, error) {
	var res putResult
	rec, err := c.record(ctx)
	if err != nil {
		return res, err
	}
	old, exists, err := c.object(ctx, args.Name)
	if err != nil {
		return res, err
	}
	if !args.Conditions.hold(old.ETag, exists) {
		return res, errCondition
	}
	uidKey := uidPrefix + args.UID
	if res.ConflictsAt, err = c.conflict(ctx, args, uidKey, old, exists); err != nil || res.ConflictsAt != "" {
		return res, err
	}
	if exists && old.ETag == args.ETag {
		res.Unchanged = true
		return res, nil
	}
	res.Created = !exists
	now := objectRecord{
		ETag: args.ETag, Size: len(args.Data), UID: args.UID, Component: args.Component,
		Modified: c.st.Now().UnixMilli(), Span: args.Span,
	}
	entries := map[string]any{objectKey(args.Name): now, now.Span.key(args.Name): now.Span.Last, uidKey: args.Name}
	keys := pieceKeys(args.Name, now.pieces())
	for i, key := range keys {
		entries[key] = args.Data[i*pieceBytes : min((i+1)*pieceBytes, len(args.Data))]
	}
	var gone []string
	if exists {
		if key := old.Span.key(args.Name); key != now.Span.key(args.Name) {
			gone = append(gone, key)
		}
		if n := old.pieces(); n > len(keys) {
			gone = append(gone, pieceKeys(args.Name, n)[len(keys):]...)
		}
	}
	return res, c.commit(ctx, "store object", rec, args.Name, entries, gone)
}

// conflict returns the name of the object that keeps args from being stored: a UID
// is that of one object, and an object keeps its UID (RFC 4791, section 5.3.2.1).
func (c *calendar) conflict(ctx context.Context, args putArgs, uidKey string, old objectRecord, exists bool) (string, error) {
	if exists && old.UID != args.UID {
		return args.Name, nil
	}
	var name string
	found, err := c.st.Storage().Get(ctx, uidKey, &name)
	if err != nil {
		return "", fmt.Errorf("look up UID: %w", err)
	}
	if found && name != args.Name {
		return name, nil
	}
	return "", nil
}

// Remove deletes an object. It returns errNoObject or errCondition.
func (c *calendar) Remove(ctx context.Context, args removeArgs) error {
	rec, err := c.record(ctx)
	if err != nil {
		return err
	}
	old, exists, err := c.object(ctx, args.Name)
	if err != nil {
		return err
	}
	if !args.Conditions.hold(old.ETag, exists) {
		return errCondition
	}
	if !exists {
		return errNoObject
	}
	gone := append(pieceKeys(args.Name, old.pieces()), objectKey(args.Name), old.Span.key(args.Name), uidPrefix+old.UID)
	return c.commit(ctx, "delete object", rec, args.Name, nil, gone)
}

// commit writes a change with its entry in the log (invariants 1 and 2): the name of
// the object, "" for the calendar's properties. Whether the object still exists is not
// for the log to say.
func (c *calendar) commit(ctx context.Context, op string, rec calendarRecord, name string, entries map[string]any, gone []string) error {
	if entries == nil {
		entries = make(map[string]any)
	}
	rec.Seq++
	rec.Modified = c.st.Now().UnixMilli()
	entries[recordKey] = rec
	entries[logKey(rec.Seq)] = name
	if rec.Seq > keepChanges {
		gone = append(gone, logKey(rec.Seq-keepChanges))
	}
	if err := c.write(ctx, op, entries); err != nil {
		return err
	}
	if _, err := c.st.Storage().DeleteMany(ctx, gone); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

func (c *calendar) write(ctx context.Context, op string, entries map[string]any) error {
	if err := c.st.Storage().PutMany(ctx, entries); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

// Read returns those of the named objects that exist, in the order of the names,
// as many as fit into one answer.
func (c *calendar) Read(ctx context.Context, args readArgs) (readResult, error) {
	var res readResult
	if _, err := c.record(ctx); err != nil {
		return res, err
	}
	names := args.Names[:min(len(args.Names), batchKeys)]
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = objectKey(name)
	}
	records, err := c.st.Storage().GetMany(ctx, keys)
	if err != nil {
		return res, fmt.Errorf("read objects: %w", err)
	}
	bytes := 0
	for i, name := range names {
		v, found := records[keys[i]]
		if found {
			obj := object{Name: name}
			if err := v.Decode(&obj.Record); err != nil {
				return res, fmt.Errorf("read object %q: %w", name, err)
			}
			if bytes += obj.Record.Size; args.Data && bytes > readBytes && len(res.Objects) > 0 {
				break
			}
			res.Objects = append(res.Objects, obj)
		}
		res.Looked = i + 1
	}
	if args.Data {
		err = c.readData(ctx, res.Objects)
	}
	return res, err
}

// readData fills in the data of objects, many keys at a time.
func (c *calendar) readData(ctx context.Context, objects []object) error {
	type piece struct{ object *object }
	var keys []string
	var pieces []piece
	for i := range objects {
		for _, key := range pieceKeys(objects[i].Name, objects[i].Record.pieces()) {
			keys = append(keys, key)
			pieces = append(pieces, piece{&objects[i]})
		}
	}
	for start := 0; start < len(keys); start += batchKeys {
		end := min(start+batchKeys, len(keys))
		values, err := c.st.Storage().GetMany(ctx, keys[start:end])
		if err != nil {
			return fmt.Errorf("read objects: %w", err)
		}
		for i, key := range keys[start:end] {
			var data []byte
			if err := values[key].Decode(&data); err != nil {
				return fmt.Errorf("read object %q: %w", pieces[start+i].object.Name, err)
			}
			o := pieces[start+i].object
			if o.Data == nil {
				o.Data = data
			} else {
				o.Data = append(o.Data, data...)
			}
		}
	}
	return nil
}

// List returns objects without data in the order of their names.
func (c *calendar) List(ctx context.Context, args listArgs) ([]object, error) {
	if _, err := c.record(ctx); err != nil {
		return nil, err
	}
	opts := durable.ListOptions{Prefix: objectPrefix, Limit: args.Limit}
	if args.After != "" {
		opts.StartAfter = objectKey(args.After)
	}
	var out []object
	for e, err := range c.st.Storage().List(ctx, opts) {
		o := object{Name: e.Key}
		if err == nil {
			o.Name = e.Key[len(objectPrefix):]
			err = e.Decode(&o.Record)
		}
		if err != nil {
			return nil, fmt.Errorf("list objects: %w", err)
		}
		out = append(out, o)
	}
	return out, nil
}

// InRange returns the names of objects that may take time within a range, in pages.
func (c *calendar) InRange(ctx context.Context, args rangeArgs) (rangePage, error) {
	var page rangePage
	if _, err := c.record(ctx); err != nil {
		return page, err
	}
	at := args.From
	for ; at.Level < len(levels); at = (indexPlace{Level: at.Level + 1}) {
		opts := durable.ListOptions{Prefix: levelKey(at.Level, 0)[:2], End: levelKey(at.Level, args.End)}
		if len(at.After) > 0 {
			opts.StartAfter = string(at.After)
		} else {
			opts.Start = levelKey(at.Level, from(at.Level, args.Start))
		}
		for e, err := range c.st.Storage().List(ctx, opts) {
			var last int64
			if err == nil {
				err = e.Decode(&last)
			}
			if err != nil {
				return page, fmt.Errorf("read index: %w", err)
			}
			if last < args.Start {
				continue
			}
			page.Names = append(page.Names, e.Key[levelKeyLen:])
			if len(page.Names) == args.Limit {
				page.Next, page.More = indexPlace{at.Level, []byte(e.Key)}, true
				return page, nil
			}
		}
	}
	return page, nil
}

// Changes returns the names of objects that changed since a number, whether or not
// they exist now. It returns errSyncToken if the log does not reach back so
// far, or the number is one of the future.
func (c *calendar) Changes(ctx context.Context, args changesArgs) (changesResult, error) {
	var res changesResult
	rec, err := c.record(ctx)
	if err != nil {
		return res, err
	}
	if args.Since > rec.Seq || rec.Seq-args.Since > keepChanges {
		return res, errSyncToken
	}
	res.Seq = args.Since
	last := make(map[string]uint64)
	opts := durable.ListOptions{Prefix: logPrefix, StartAfter: logKey(args.Since), Limit: args.Limit}
	for e, err := range c.st.Storage().List(ctx, opts) {
		var name string
		if err == nil {
			err = e.Decode(&name)
		}
		if err != nil {
			return res, fmt.Errorf("read change log: %w", err)
		}
		res.Seq = binary.BigEndian.Uint64([]byte(e.Key[len(logPrefix):]))
		if name != "" {
			last[name] = res.Seq
		}
	}
	res.More = res.Seq < rec.Seq
	for name := range last {
		res.Names = append(res.Names, name)
	}
	sort.Slice(res.Names, func(i, j int) bool { return last[res.Names[i]] < last[res.Names[j]] })
	return res, nil
}

// record returns the calendar's record, or errNoCalendar (invariant 3).
func (c *calendar) record(ctx context.Context) (calendarRecord, error) {
	var rec calendarRecord
	found, err := c.st.Storage().Get(ctx, recordKey, &rec)
	if err != nil {
		return rec, fmt.Errorf("load calendar: %w", err)
	}
	if !found {
		return rec, errNoCalendar
	}
	return rec, nil
}

func (c *calendar) properties(ctx context.Context) (map[string]string, error) {
	props := make(map[string]string)
	for e, err := range c.st.Storage().List(ctx, durable.ListOptions{Prefix: propPrefix}) {
		var xml string
		if err == nil {
			err = e.Decode(&xml)
		}
		if err != nil {
			return nil, fmt.Errorf("load properties: %w", err)
		}
		props[e.Key[len(propPrefix):]] = xml
	}
	return props, nil
}

func (c *calendar) object(ctx context.Context, name string) (objectRecord, bool, error) {
	var rec objectRecord
	found, err := c.st.Storage().Get(ctx, objectKey(name), &rec)
	if err != nil {
		return rec, false, fmt.Errorf("load object %q: %w", name, err)
	}
	return rec, found, nil
}
