package calmcp

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/perdure/perdure/durable"
)

// A session's event log is what its clients may ask for again, by the id of the last event
// that they saw. Streams are of two kinds, and kept in two ways:
//
//   - The standalone stream (its id is "") carries notifications. It lives as long as the
//     session, and an event is durable before anybody sees it: a number that a client has
//     seen is never given to another event.
//   - Each request has a stream, which ends with its answers. It is kept in memory until
//     then, so that a call waits for no disk, and written down soon after the answer: at
//     once if the client has left, and else with others. A crash before loses it.
//
// What is over the bounds is dropped from the oldest, and asking for it is [mcp.ErrEventsPurged].

// logRecord is what is known of the events in storage.
type logRecord struct {
	// The standalone stream has the events First … Next-1, numbered from 1. A client that
	// names no event gets those from Unsent on: the others were sent on a stream that was
	// open. Of those before Offered some client may know.
	First   int64 `cbor:"1,keyasint"`
	Next    int64 `cbor:"2,keyasint"`
	Unsent  int64 `cbor:"3,keyasint"`
	Offered int64 `cbor:"4,keyasint"`
	Bytes   int64 `cbor:"5,keyasint"` // of all

	Streams []savedStream `cbor:"6,keyasint"` // of requests, the oldest first
	Serial  int64         `cbor:"7,keyasint"` // of the next
}

// savedStream is a request's stream in storage.
type savedStream struct {
	ID     string `cbor:"1,keyasint"`
	Serial int64  `cbor:"2,keyasint"` // its keys begin with it
	Pieces int    `cbor:"3,keyasint"`
	Bytes  int64  `cbor:"4,keyasint"`
}

// newLog is that of a new session. Number 0 is for clients that have seen nothing.
func newLog() logRecord { return logRecord{First: 1, Next: 1, Unsent: 1, Offered: 1} }

const (
	maxSavedStreams = 32
	maxStoredEvent  = 100 << 10 // of the standalone stream; a larger one is never replayed
	pieceBytes      = 100 << 10
)

// callPrefix is that of keys for calls under way, by stream: the ids of the calls. What an
// instance finds there was lost with the one before.
const callPrefix = "c"

// maxLost bounds how many of them are kept.
const maxLost = 64

// callNote is calls that are under way.
type callNote struct {
	Instance uint64
	Stream   string
	Calls    []json.RawMessage
}

// NoteCalls writes down that calls are under way.
func (s *mcpSession) NoteCalls(ctx context.Context, n callNote) error {
	if n.Instance != s.instance || s.rec == nil || s.live == nil || s.live.log.stream(n.Stream) == nil {
		return nil // they are over
	}
	if len(s.lost) >= maxLost {
		for stream := range s.lost {
			if err := s.forgetCalls(ctx, stream); err != nil {
				return err
			}
		}
	}
	if err := s.st.Storage().Put(ctx, callPrefix+n.Stream, n.Calls); err != nil {
		return fmt.Errorf("note calls: %w", err)
	}
	s.noted[n.Stream] = struct{}{}
	return nil
}

// forgetCalls deletes a note.
func (s *mcpSession) forgetCalls(ctx context.Context, stream string) error {
	if _, err := s.st.Storage().Delete(ctx, callPrefix+stream); err != nil {
		return fmt.Errorf("forget calls: %w", err)
	}
	delete(s.lost, stream)
	delete(s.noted, stream)
	return nil
}

// lostAnswers are the events of a stream whose calls were lost: what begins it, and an error
// for each.
func lostAnswers(calls []json.RawMessage) [][]byte {
	events := [][]byte{nil}
	for _, id := range calls {
		events = append(events, errorMessage(id, -32000,
			"The server started again before this call was answered; look whether what was asked has been done, then ask again"))
	}
	return events
}

func eventKey(n int64) string                 { return fmt.Sprintf("e%016x", n) }
func pieceKey(serial int64, piece int) string { return fmt.Sprintf("p%016x.%03d", serial, piece) }

// errDropped is why events can't be replayed.
var errDropped = errors.New("calmcp: the events are not kept any more")

// appendEvent adds an event to the standalone stream, in an event of the object.
func (s *mcpSession) appendEvent(ctx context.Context, data []byte, sent bool) (n int64, err error) {
	h, err := s.link.get()
	if err != nil {
		return 0, err
	}
	st, x := s.st.Storage(), s.log
	n = x.Next
	x.Next++
	if len(data) > maxStoredEvent {
		if err := s.dropEvents(ctx, &x, x.Next); err != nil {
			return 0, err
		}
	} else {
		if err := st.PutRaw(ctx, eventKey(n), data); err != nil {
			return 0, fmt.Errorf("save event: %w", err)
		}
		x.Bytes += int64(len(data))
		keep := x.First
		if over := x.Next - int64(h.opts.LogEvents); over > keep {
			keep = over
		}
		for {
			if err := s.dropEvents(ctx, &x, keep); err != nil {
				return 0, err
			}
			if x.Bytes <= int64(h.opts.LogBytes) || x.First >= n {
				break
			}
			keep = x.First + 1
		}
	}
	if sent {
		x.Unsent, x.Offered = x.Next, x.Next
	}
	if err := s.saveLog(ctx, x); err != nil {
		return 0, err
	}
	return n, nil
}

// dropEvents drops those of the standalone stream before keep.
func (s *mcpSession) dropEvents(ctx context.Context, x *logRecord, keep int64) error {
	for ; x.First < keep; x.First++ {
		data, found, err := s.st.Storage().GetRaw(ctx, eventKey(x.First))
		if err != nil {
			return fmt.Errorf("drop event: %w", err)
		}
		if !found {
			continue
		}
		x.Bytes -= int64(len(data))
		if _, err := s.st.Storage().Delete(ctx, eventKey(x.First)); err != nil {
			return fmt.Errorf("drop event: %w", err)
		}
	}
	return nil
}

func (s *mcpSession) saveLog(ctx context.Context, x logRecord) error {
	if err := s.st.Storage().Put(ctx, logKey, &x); err != nil {
		return fmt.Errorf("save event log: %w", err)
	}
	s.log = x
	return nil
}

// AppendTo is what [liveLog.Append] calls for the standalone stream.
type appendTo struct {
	Instance uint64
	Data     []byte
}

// Append adds an event to the standalone stream of the SDK's session in this instance.
func (s *mcpSession) Append(ctx context.Context, a appendTo) error {
	if a.Instance != s.instance || s.rec == nil {
		return errDropped
	}
	_, err := s.appendEvent(ctx, a.Data, s.listening())
	return err
}

// replay asks for the events of a stream after a number.
type replay struct {
	Stream string
	After  int64
}

// Replay returns events for a client that comes back, or [errDropped].
func (s *mcpSession) Replay(ctx context.Context, q replay) ([][]byte, error) {
	if q.Stream != "" {
		return s.replayStream(ctx, q)
	}
	if q.After+1 < s.log.First || q.After >= s.log.Next {
		return nil, errDropped
	}
	var out [][]byte
	for n := q.After + 1; n < s.log.Next; n++ {
		data, found, err := s.st.Storage().GetRaw(ctx, eventKey(n))
		if err != nil {
			return nil, fmt.Errorf("replay: %w", err)
		}
		if !found {
			return nil, errDropped
		}
		out = append(out, data)
	}
	return out, nil
}

func (s *mcpSession) replayStream(ctx context.Context, q replay) ([][]byte, error) {
	i := slices.IndexFunc(s.log.Streams, func(t savedStream) bool { return t.ID == q.Stream })
	if calls, lost := s.lost[q.Stream]; lost && i < 0 {
		return eventsAfter(0, lostAnswers(calls), q.After)
	}
	if i < 0 {
		return nil, errDropped
	}
	t := s.log.Streams[i]
	var packed []byte
	for piece := range t.Pieces {
		data, found, err := s.st.Storage().GetRaw(ctx, pieceKey(t.Serial, piece))
		if err != nil {
			return nil, fmt.Errorf("replay: %w", err)
		}
		if !found {
			return nil, errDropped
		}
		packed = append(packed, data...)
	}
	first, events, err := unpackEvents(packed)
	if err != nil {
		return nil, err
	}
	return eventsAfter(first, events, q.After)
}

// eventsAfter returns the events of a stream that begins with number first.
func eventsAfter(first int64, events [][]byte, after int64) ([][]byte, error) {
	if after+1 < first || after >= first+int64(len(events)) {
		return nil, errDropped
	}
	return events[after+1-first:], nil
}

// packEvents puts a stream together: the number of its first event, then each with its
// length before it; numbers are uvarints.
func packEvents(first int64, events [][]byte) []byte {
	packed := binary.AppendUvarint(nil, uint64(first))
	for _, e := range events {
		packed = binary.AppendUvarint(packed, uint64(len(e)))
		packed = append(packed, e...)
	}
	return packed
}

var errUnpack = errors.New("calmcp: a saved stream can't be read")

func unpackEvents(packed []byte) (first int64, events [][]byte, err error) {
	number, n := binary.Uvarint(packed)
	if n <= 0 {
		return 0, nil, errUnpack
	}
	for rest := packed[n:]; len(rest) > 0; {
		size, n := binary.Uvarint(rest)
		if n <= 0 || size > uint64(len(rest)-n) {
			return 0, nil, errUnpack
		}
		events = append(events, rest[n:n+int(size):n+int(size)])
		rest = rest[n+int(size):]
	}
	return int64(number), events, nil
}

// saveStreams writes down the streams of requests that are over, in an event of the object.
func (s *mcpSession) saveStreams(ctx context.Context) error {
	l := s.live
	if l == nil || s.rec == nil {
		return nil
	}
	h, err := s.link.get()
	if err != nil {
		return err
	}
	finished := l.log.take()
	if len(finished) == 0 {
		return nil
	}
	x := s.log
	x.Streams = slices.Clone(x.Streams)
	var total int64
	for _, t := range x.Streams {
		total += t.Bytes
	}
	for _, f := range finished {
		t, err := s.saveStream(ctx, &x, f)
		if err != nil {
			return err
		}
		total += t.Bytes
		if _, noted := s.noted[f.id]; noted {
			if err := s.forgetCalls(ctx, f.id); err != nil {
				return err
			}
		}
	}
	for len(x.Streams) > maxSavedStreams || len(x.Streams) > 0 && total > int64(h.opts.LogBytes) {
		t := x.Streams[0]
		for piece := range t.Pieces {
			if _, err := s.st.Storage().Delete(ctx, pieceKey(t.Serial, piece)); err != nil {
				return fmt.Errorf("drop stream: %w", err)
			}
		}
		total -= t.Bytes
		x.Streams = x.Streams[1:]
	}
	if err := s.saveLog(ctx, x); err != nil {
		return err
	}
	l.log.forget(finished...)
	return nil
}

func (s *mcpSession) saveStream(ctx context.Context, x *logRecord, f *liveStream) (t savedStream, err error) {
	packed := packEvents(f.first, f.events)
	t = savedStream{ID: f.id, Serial: x.Serial, Bytes: int64(len(packed))}
	x.Serial++
	for piece := range slices.Chunk(packed, pieceBytes) {
		if err := s.st.Storage().PutRaw(ctx, pieceKey(t.Serial, t.Pieces), piece); err != nil {
			return t, fmt.Errorf("save stream: %w", err)
		}
		t.Pieces++
	}
	x.Streams = append(x.Streams, t)
	return t, nil
}

// liveLog is the event log as the SDK's session in memory has it: an [mcp.EventStore]. The
// SDK calls it from its own goroutines, so that it reaches storage by calls to the object only.
type liveLog struct {
	self      *durable.Stub // the object, from outside
	instance  uint64
	maxEvents int
	maxBytes  int
	muted     atomic.Bool // while a session is brought back

	mu       sync.Mutex
	streams  map[string]*liveStream // of requests: until they are saved
	finished []*liveStream          // those that are over
	bytes    int                    // of those
}

// liveStream is a request's stream.
type liveStream struct {
	id     string
	post   *post
	first  int64
	events [][]byte // nil: the event that only begins a stream
	bytes  int
	calls  int // that have no answer yet
}

type postKey struct{}

// Open implements [mcp.EventStore].
func (l *liveLog) Open(ctx context.Context, _, stream string) error {
	if stream == "" || l.muted.Load() {
		return nil
	}
	p, _ := ctx.Value(postKey{}).(*post)
	if p == nil {
		return errDropped // not through us
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &liveStream{id: stream, post: p, calls: len(p.calls)}
	l.streams[stream] = t
	p.stream.Store(t)
	return nil
}

// Append implements [mcp.EventStore].
func (l *liveLog) Append(_ context.Context, _, stream string, data []byte) error {
	if l.muted.Load() {
		return nil
	}
	if stream == "" {
		return durable.Exec(context.Background(), l.self, (*mcpSession).Append, appendTo{l.instance, data})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.streams[stream]
	if t == nil {
		return errDropped
	}
	t.events = append(t.events, data)
	t.bytes += len(data)
	for len(t.events) > l.maxEvents || t.bytes > l.maxBytes && len(t.events) > 0 {
		t.bytes -= len(t.events[0])
		t.events[0] = nil
		t.events = t.events[1:]
		t.first++
	}
	if isAnswer(data) {
		if t.calls--; t.calls == 0 {
			l.finishLocked(t)
		}
	}
	return nil
}

func (l *liveLog) finishLocked(t *liveStream) {
	close(t.post.answered)
	l.finished = append(l.finished, t)
	l.bytes += t.bytes
	for l.bytes > l.maxBytes && len(l.finished) > 1 {
		l.bytes -= l.finished[0].bytes
		delete(l.streams, l.finished[0].id)
		l.finished = l.finished[1:]
	}
}

// isAnswer says whether a message is a response: it has a result or an error, and no method.
func isAnswer(data []byte) bool {
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return false
	}
	for d.More() {
		switch t, err := d.Token(); {
		case err != nil || t == "method":
			return false
		case t == "result" || t == "error":
			return true
		}
		var skipped json.RawMessage
		if d.Decode(&skipped) != nil {
			return false
		}
	}
	return false
}

// After implements [mcp.EventStore].
func (l *liveLog) After(_ context.Context, _, stream string, index int) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		events, err := l.after(stream, int64(index))
		if err != nil {
			yield(nil, fmt.Errorf("%w: %w", mcp.ErrEventsPurged, err))
			return
		}
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (l *liveLog) after(stream string, index int64) ([][]byte, error) {
	l.mu.Lock()
	if t := l.streams[stream]; t != nil {
		defer l.mu.Unlock()
		events, err := eventsAfter(t.first, t.events, index)
		return slices.Clone(events), err
	}
	l.mu.Unlock()
	return durable.Call(context.Background(), l.self, (*mcpSession).Replay, replay{stream, index})
}

// SessionClosed implements [mcp.EventStore]. What is kept outlives the SDK's session.
func (l *liveLog) SessionClosed(context.Context, string) error { return nil }

// any says whether there are streams that are over and not saved.
func (l *liveLog) any() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.finished) > 0
}

// take returns the streams that are over and not saved.
func (l *liveLog) take() []*liveStream {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.finished
	l.finished, l.bytes = nil, 0
	return all
}

// forget drops streams that are saved now, or of no use.
func (l *liveLog) forget(streams ...*liveStream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range streams {
		if l.streams[t.id] == t {
			delete(l.streams, t.id)
		}
	}
}

// open returns the stream of a request that is not saved, nil if there is none.
func (l *liveLog) stream(stream string) *liveStream {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.streams[stream]
}
