package durable

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/memstore"
)

func sampleCall() *envelope {
	return &envelope{
		Version: wireVersion, Namespace: 1 << 31, Class: "Class", ID: bytes.Repeat([]byte{7}, 32), Name: []byte("n\x00\xff"), Named: true,
		Depth: 3, Hops: []hop{{1 << 63, 2, "label"}}, Timeout: 1 << 62, Parent: "00-aa-bb-01", State: "s=1", Method: "Method",
	}
}

func TestCallMessages(t *testing.T) {
	for name, env := range map[string]*envelope{
		"all":  sampleCall(),
		"none": {Version: wireVersion, ID: make([]byte, 32), Name: []byte{}},
	} {
		msg, err := packCall(env, []byte("argument"))
		if err != nil {
			t.Fatal(err)
		}
		var got envelope
		arg, err := unpackCall(msg, &got)
		if diff := cmp.Diff(env, &got); diff != "" || err != nil || string(arg) != "argument" {
			t.Errorf("%s: argument %q, %v, (-want +got)\n%s", name, arg, err, diff)
		}
		for n := range len(msg) - len("argument") {
			if _, err := unpackCall(msg[:n], new(envelope)); err == nil {
				t.Errorf("%s: the first %d of %d bytes pass for a call", name, n, len(msg))
			}
		}
	}
	later := sampleCall()
	later.Version++
	msg, err := packCall(later, nil)
	if err != nil {
		t.Fatal(err)
	}
	var e *Error
	if _, err := unpackCall(msg[:40], new(envelope)); !errors.As(err, &e) || !e.Retryable {
		t.Errorf("a call of a later version: %v, want one that is retryable", err)
	}
}

// cannedPeer answers every call alike.
type cannedPeer struct {
	answer []byte
	err    error
}

func (p cannedPeer) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.ErrUnsupported
}

func (p cannedPeer) Call(_ context.Context, _ []byte, limit int) ([]byte, error) {
	return p.answer[:min(len(p.answer), limit+1)], p.err
}

// What another node answers is taken within the limit, and what is no answer says that the call may have run.
func TestAnswersOfAnotherNode(t *testing.T) {
	class := NewClass("Class", func(context.Context, *State) (*fuzzed, error) { return new(fuzzed), nil }, nil)
	rt, err := Open(memstore.New(nil), &Options{Classes: []Class{class}, Limits: Limits{ArgumentBytes: 10}})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		peer cannedPeer
		want error // nil: the answer
	}{
		"at the limit":   {cannedPeer{answer: append([]byte{answerResult}, "0123456789"...)}, nil},
		"over it":        {cannedPeer{answer: append([]byte{answerResult}, "0123456789a"...)}, ErrArgumentTooLarge},
		"nothing":        {cannedPeer{}, ErrUnreachable},
		"no answer":      {cannedPeer{answer: []byte{99}}, ErrUnreachable},
		"no error":       {cannedPeer{answer: []byte{answerError, 0xff}}, ErrUnreachable},
		"a broken call":  {cannedPeer{err: broken}, ErrUnreachable},
		"an unsent call": {cannedPeer{err: fmt.Errorf("%w: %w", ErrNotDelivered, broken)}, ErrNotDelivered},
	} {
		p := &passage{stub: rt.Namespace("Class").Named("x"), ctx: t.Context(), place: &Place{Peer: c.peer}}
		got, err := p.passCall("Method", nil)
		if c.want == nil && (err != nil || string(got) != "0123456789") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		var e *Error
		if c.want != nil && (!errors.Is(err, c.want) || errors.As(err, &e) && e.Retryable) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// elsewhere is a placement by which everything lives at a peer.
type elsewhere struct{ peer Peer }

func (e elsewhere) Locate(context.Context, store.Object) (*Place, error) {
	return &Place{Peer: e.peer, Owner: "other"}, nil
}
func (elsewhere) Missed(store.Object, *Place, error)         {}
func (elsewhere) Shards() (held []uint32, _ <-chan struct{}) { return nil, nil }

// hasty answers when the caller does not wait any more.
type hasty struct {
	cannedPeer
	leave func()
}

func (p hasty) Call(ctx context.Context, msg []byte, limit int) ([]byte, error) {
	p.leave()
	return p.cannedPeer.Call(ctx, msg, limit)
}

// A caller that has left is told that the call did not run only if it did not.
func TestAnswersToWhomLeft(t *testing.T) {
	for name, c := range map[string]struct {
		peer      cannedPeer
		retryable bool
	}{
		"ran":         {cannedPeer{answer: append([]byte{answerResult}, make([]byte, 11)...)}, false},
		"ran, badly":  {cannedPeer{answer: []byte{answerResult, 0xff}}, false},
		"may have":    {cannedPeer{err: context.Canceled}, false},
		"not sent":    {cannedPeer{err: fmt.Errorf("%w: %w", ErrNotDelivered, context.Canceled)}, true},
		"was refused": {cannedPeer{answer: packFailure(wireError{Refused: true})}, true},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		class := NewClass("Class", func(context.Context, *State) (*fuzzed, error) { return new(fuzzed), nil }, nil)
		rt, err := Open(memstore.New(nil), &Options{Classes: []Class{class}, Limits: Limits{ArgumentBytes: 10}, Placement: elsewhere{hasty{c.peer, cancel}}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = Call(ctx, rt.Namespace("Class").Named("x"), (*fuzzed).Method, 5)
		var e *Error
		if retryable := errors.As(err, &e) && e.Retryable; err == nil || retryable != c.retryable {
			t.Errorf("a call that %s: %v, retryable: %v, want %v", name, err, retryable, c.retryable)
		}
		rt.Close()
	}
}

// Whatever comes in as a call is answered, with an error if it is none.
func FuzzPeerCall(f *testing.F) {
	class := NewClass("Class", func(context.Context, *State) (*fuzzed, error) { return new(fuzzed), nil }, nil)
	rt, err := Open(memstore.New(nil), &Options{Classes: []Class{class}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { rt.Close() })
	good := sampleCall()
	good.Namespace = rt.namespaces["Class"].number
	for _, arg := range [][]byte{{5}, {0xff}, nil} {
		msg, err := packCall(good, arg)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(msg)
	}
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, msg []byte) {
		answer := rt.PeerCall(t.Context(), bytes.Clone(msg))
		if _, _, err := unpackAnswer(answer); err != nil {
			t.Errorf("answer to %x: %x, %v", msg, answer, err)
		}
	})
}

type fuzzed struct{}

func (*fuzzed) Method(_ context.Context, n int) (int, error) { return n + 1, nil }

func FuzzUnpackAnswer(f *testing.F) {
	f.Add([]byte{answerResult, 5})
	f.Add(packFailure(wireError{Text: "text", Is: []string{"is"}, Limit: 5}))
	f.Add([]byte{9})
	f.Fuzz(func(t *testing.T, b []byte) {
		result, failure, err := unpackAnswer(b)
		switch {
		case err != nil:
		case failure != nil:
			_ = failure.unpack(ID{}, nil).Error()
		case !bytes.Equal(result, b[1:]):
			t.Errorf("result %x of %x", result, b)
		}
	})
}
