package durable

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"

	"github.com/fxamacker/cbor/v2"
)

// What nodes say to each other. An event is one POST whose body is the request's
// or the encoded argument, and whose answer's body is the answer's or the encoded
// result. All else stands in one header each way, as CBOR in base64: what an object
// gets and answers is then the same bytes wherever it lives, whatever HTTP's own
// rules would do to its headers. docs/format.md has the tables.

const (
	eventHeader  = "Perdure-Event"  // of the request: an envelope
	answerHeader = "Perdure-Answer" // of the answer to a request: an answerHead
	errorHeader  = "Perdure-Error"  // instead of an answer, or as a trailer after a part of one
	peerPath     = "/event"
)

// wireVersion is the protocol's. A node refuses events of a later one.
const wireVersion = 1

// envelope is an event on its way.
type envelope struct {
	Version   int          `cbor:"v"`
	Namespace uint32       `cbor:"ns"`
	Class     string       `cbor:"class"`
	ID        []byte       `cbor:"id"`
	Name      []byte       `cbor:"name,omitempty"`
	Named     bool         `cbor:"named,omitempty"`
	Depth     int          `cbor:"depth"` // events in the chain that wait for this one
	Hops      []hop        `cbor:"hops,omitempty"`
	Timeout   int64        `cbor:"timeout,omitempty"` // nanoseconds until the caller's deadline; clocks may differ
	Parent    string       `cbor:"traceparent,omitempty"`
	State     string       `cbor:"tracestate,omitempty"`
	Method    string       `cbor:"method,omitempty"`  // of a call
	Request   *requestHead `cbor:"request,omitempty"` // of a request
}

// requestHead is a request without its body.
type requestHead struct {
	Method     string              `cbor:"method"`
	URL        urlParts            `cbor:"url"`
	Host       string              `cbor:"host"`
	RequestURI string              `cbor:"uri"`
	Header     map[string][]string `cbor:"header"`
	Length     int64               `cbor:"length"` // -1: as it comes
}

// urlParts are the fields of a url.URL, since its text does not keep all of them.
type urlParts struct {
	Scheme, Opaque, Host, Path, RawPath, RawQuery, Fragment, RawFragment string
	ForceQuery, OmitHost                                                 bool
}

func partsOf(u *url.URL) urlParts {
	return urlParts{u.Scheme, u.Opaque, u.Host, u.Path, u.RawPath, u.RawQuery, u.Fragment, u.RawFragment, u.ForceQuery, u.OmitHost}
}

func (p *urlParts) url() *url.URL {
	return &url.URL{
		Scheme: p.Scheme, Opaque: p.Opaque, Host: p.Host, Path: p.Path, RawPath: p.RawPath, RawQuery: p.RawQuery,
		Fragment: p.Fragment, RawFragment: p.RawFragment, ForceQuery: p.ForceQuery, OmitHost: p.OmitHost,
	}
}

// answerHead is an answer without its body.
type answerHead struct {
	Code   int                 `cbor:"code"`
	Header map[string][]string `cbor:"header"`
	Length int64               `cbor:"length"` // of the whole answer; -1: a stream
}

// wireError is an error on its way to the caller's node.
type wireError struct {
	Text       string   `cbor:"text"`
	Remote     bool     `cbor:"remote,omitempty"`
	Retryable  bool     `cbor:"retryable,omitempty"`
	Overloaded bool     `cbor:"overloaded,omitempty"`
	Reset      bool     `cbor:"reset,omitempty"`
	Is         []string `cbor:"is,omitempty"` // texts of sentinels
	Limit      int64    `cbor:"limit,omitempty"`
	Size       int64    `cbor:"size,omitempty"`
	Over       string   `cbor:"over,omitempty"` // of a LimitError: its Err

	Refused bool   `cbor:"refused,omitempty"` // a NotOwnerError
	Owner   string `cbor:"owner,omitempty"`
	Epoch   int64  `cbor:"epoch,omitempty"`
}

var wireDecoder = func() cbor.DecMode {
	m, err := cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:  16,
		MaxArrayElements: 1 << 16,
		MaxMapPairs:      1 << 16,
		UTF8:             cbor.UTF8DecodeInvalid, // headers and paths are bytes
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return m
}()

func toHeader(v any) (string, error) {
	b, err := encoder.Marshal(v)
	return base64.StdEncoding.EncodeToString(b), err
}

func fromHeader(h http.Header, key string, v any) error {
	b, err := base64.StdEncoding.DecodeString(h.Get(key))
	if err == nil {
		err = wireDecoder.Unmarshal(b, v)
	}
	if err != nil {
		return fmt.Errorf("header %s: %w", key, err)
	}
	return nil
}

// A call that goes by a [CallPeer] is one message: what every call has as it is, since
// CBOR would cost more than the rest of the way, then what some have, as CBOR, then the
// encoded argument. Its answer is a byte that says what follows: the encoded result, or
// a wireError as CBOR.

const (
	answerResult = 0
	answerError  = 1
)

const callNamed = 1 // flag: name is one

// callMore is what some calls have. A reader ignores fields that it does not know.
type callMore struct {
	Hops   []hop  `cbor:"hops,omitempty"`
	Parent string `cbor:"traceparent,omitempty"`
	State  string `cbor:"tracestate,omitempty"`
}

func packCall(env *envelope, arg []byte) ([]byte, error) {
	var more []byte
	if len(env.Hops) > 0 || env.Parent != "" {
		var err error
		if more, err = encoder.Marshal(callMore{env.Hops, env.Parent, env.State}); err != nil {
			return nil, err
		}
	}
	flags := byte(0)
	if env.Named {
		flags |= callNamed
	}
	b := make([]byte, 0, 80+len(env.Class)+len(env.Method)+len(env.Name)+len(more)+len(arg))
	b = append(b, byte(env.Version), flags)
	b = append(b, env.ID...)
	b = binary.AppendUvarint(b, uint64(env.Namespace))
	b = binary.AppendUvarint(b, uint64(env.Depth))
	b = binary.AppendUvarint(b, uint64(env.Timeout))
	b = append(binary.AppendUvarint(b, uint64(len(env.Class))), env.Class...)
	b = append(binary.AppendUvarint(b, uint64(len(env.Method))), env.Method...)
	b = append(binary.AppendUvarint(b, uint64(len(env.Name))), env.Name...)
	b = append(binary.AppendUvarint(b, uint64(len(more))), more...)
	return append(b, arg...), nil
}

var errBadCall = errors.New("durable: a call of another node that is none")

// unpackCall returns the argument. It and parts of env are parts of msg.
func unpackCall(msg []byte, env *envelope) (arg []byte, err error) {
	if len(msg) < 2+len(ID{}.b) {
		return nil, errBadCall
	}
	if env.Version = int(msg[0]); env.Version > wireVersion {
		return nil, env.tooNew() // what follows may be anything
	}
	env.Named = msg[1]&callNamed != 0
	env.ID = msg[2 : 2+len(ID{}.b)]
	r := reader{rest: msg[2+len(ID{}.b):]}
	env.Namespace = uint32(r.number(math.MaxUint32))
	env.Depth = int(r.number(math.MaxInt32))
	env.Timeout = int64(r.number(math.MaxInt64))
	env.Class = string(r.bytes())
	env.Method = string(r.bytes())
	env.Name = r.bytes()
	more := r.bytes()
	if r.bad {
		return nil, errBadCall
	}
	if len(more) > 0 {
		var m callMore
		if err := wireDecoder.Unmarshal(more, &m); err != nil {
			return nil, fmt.Errorf("%w: %w", errBadCall, err)
		}
		env.Hops, env.Parent, env.State = m.Hops, m.Parent, m.State
	}
	return r.rest, nil
}

// reader takes a message apart.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) number(limit uint64) uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || v > limit {
		r.rest, r.bad = nil, true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) bytes() []byte {
	n := r.number(uint64(len(r.rest)))
	if n > uint64(len(r.rest)) {
		r.rest, r.bad = nil, true
		return nil
	}
	var b []byte
	b, r.rest = r.rest[:n:n], r.rest[n:]
	return b
}

func packFailure(w wireError) []byte {
	b, err := encoder.Marshal(w)
	if err != nil { // strings and numbers: there is none
		panic(err)
	}
	return append([]byte{answerError}, b...)
}

// unpackAnswer returns the result or the other node's error, or why there is neither.
func unpackAnswer(b []byte) (result []byte, failure *wireError, err error) {
	switch {
	case len(b) > 0 && b[0] == answerResult:
		return b[1:], nil, nil
	case len(b) > 0 && b[0] == answerError:
		failure = new(wireError)
		if err := wireDecoder.Unmarshal(b[1:], failure); err != nil {
			return nil, nil, fmt.Errorf("error of a call: %w", err)
		}
		return nil, failure, nil
	}
	return nil, nil, fmt.Errorf("an answer of %d bytes that is none", len(b))
}

// packError returns err as it crosses to another node, registered being the class's sentinels.
func packError(err error, registered []error) wireError {
	w := wireError{Text: err.Error()}
	if no, ok := err.(*NotOwnerError); ok {
		w.Refused, w.Owner, w.Epoch = true, no.Owner, no.Epoch
		return w
	}
	var e *Error
	if errors.As(err, &e) {
		w.Remote, w.Retryable, w.Overloaded, w.Reset = e.Remote, e.Retryable, e.Overloaded, e.Reset
	}
	var lim *LimitError
	if errors.As(err, &lim) {
		w.Limit, w.Size, w.Over = lim.Limit, lim.Size, lim.Err.Error()
	}
	for s := range sentinels(registered) {
		if errors.Is(err, s) {
			w.Is = append(w.Is, s.Error())
		}
	}
	return w
}

// unpack returns the error as the caller sees it.
func (w *wireError) unpack(id ID, registered []error) error {
	if w.Refused {
		return &NotOwnerError{ID: id, Owner: w.Owner, Epoch: w.Epoch}
	}
	e := &Error{Text: w.Text, Remote: w.Remote, Retryable: w.Retryable, Overloaded: w.Overloaded, Reset: w.Reset}
	for s := range sentinels(registered) {
		if w.Over != "" && s.Error() == w.Over {
			e.is = append(e.is, &LimitError{Err: s, Limit: w.Limit, Size: w.Size})
		} else if slices.Contains(w.Is, s.Error()) {
			e.is = append(e.is, s)
		}
	}
	return e
}

// sentinels yields all that survive the way.
func sentinels(registered []error) func(yield func(error) bool) {
	return func(yield func(error) bool) {
		for _, list := range [3][]error{registered, crossing, {errBadBody, ErrNotDelivered}} {
			for _, s := range list {
				if !yield(s) {
					return
				}
			}
		}
	}
}
