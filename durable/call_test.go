package durable_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/memstore"
)

var errSentinel = errors.New("sentinel")

type Args struct {
	L []int
	M map[string]*int
}

type Base struct{ calls int }

func (b *Base) Promoted(context.Context) (int, error) { b.calls++; return b.calls, nil }

// Callee has methods of every form.
type Callee struct {
	Base
	st   *durable.State
	kept Args
}

func (c *Callee) Add(_ context.Context, n int) (int, error)              { return n + 1, nil }
func (c *Callee) Keep(_ context.Context, a Args) (Args, error)           { c.kept = a; return c.kept, nil }
func (c *Callee) Kept(context.Context) (Args, error)                     { return c.kept, nil }
func (c *Callee) Exec(_ context.Context, n int) error                    { return fmt.Errorf("exec %d", n) }
func (c *Callee) Exec0(context.Context) error                            { return nil }
func (c *Callee) Alarm(context.Context, durable.AlarmInfo) error         { return nil }
func (c *Callee) Channel(context.Context) (chan int, error)              { return make(chan int), nil }
func (c *Callee) hidden(_ context.Context, n int) (int, error)           { return n, nil }
func (c *Callee) Takes(_ *Callee, _ context.Context, n int) (int, error) { return n, nil }
func (c *Callee) Fail(ctx context.Context, kind string) error {
	switch kind {
	case "sentinel":
		return fmt.Errorf("wrapped: %w", errSentinel)
	case "unknown":
		return fmt.Errorf("wrapped: %w", errBoom)
	case "ours":
		return c.st.Storage().Put(ctx, strings.Repeat("k", 3000), 1)
	case "canceled":
		return context.Canceled
	case "inner":
		return do(ctx, c.st.Namespace("Obj").Named("x"), func(_ context.Context, o *Obj) error { o.st.Abort(errBoom); return nil })
	}
	return nil
}

type Adder interface {
	Add(context.Context, int) (int, error)
}

type Generic[T any] struct{ v T }

func (g *Generic[T]) Add(_ context.Context, n int) (int, error) { return n + 1, nil }

func Function(_ *Callee, _ context.Context, n int) (int, error) { return n, nil }

func openCallee(t *testing.T) *rig {
	t.Helper()
	return open(t, nil, &durable.Options{Classes: []durable.Class{
		durable.NewClass("Callee", func(_ context.Context, st *durable.State) (*Callee, error) { return &Callee{st: st}, nil },
			&durable.ClassOptions{Errors: []error{errSentinel}}),
		durable.NewClass("Generic", func(context.Context, *durable.State) (*Generic[int], error) { return new(Generic[int]), nil }, nil),
	}})
}

func TestCall(t *testing.T) {
	rt := openCallee(t)
	s, ctx := rt.Namespace("Callee").Named("a"), t.Context()
	if n, err := durable.Call(ctx, s, (*Callee).Add, 41); n != 42 || err != nil {
		t.Errorf("Call = %d, %v, want 42", n, err)
	}
	if n, err := durable.Call0(ctx, s, (*Callee).Promoted); n != 1 || err != nil {
		t.Errorf("Call0 of a promoted method = %d, %v, want 1", n, err)
	}
	if err := durable.Exec(ctx, s, (*Callee).Exec, 7); err == nil || err.Error() != "exec 7" {
		t.Errorf("Exec: %v, want exec 7", err)
	}
	if err := durable.Exec0(ctx, s, (*Callee).Exec0); err != nil {
		t.Errorf("Exec0: %v", err)
	}
	if n, err := durable.Call(ctx, rt.Namespace("Generic").Named("a"), (*Generic[int]).Add, 1); n != 2 || err != nil {
		t.Errorf("Call of a generic type's method = %d, %v, want 2", n, err)
	}
}

func TestWhatCallRefuses(t *testing.T) {
	rt := openCallee(t)
	s, ctx := rt.Namespace("Callee").Named("a"), t.Context()
	n := 0
	refused := func(what string, err error) {
		t.Helper()
		wantErr(t, what, err, durable.ErrInvalidMethod)
	}
	call := func(what string, method func(*Callee, context.Context, int) (int, error)) {
		t.Helper()
		_, err := durable.Call(ctx, s, method, 1)
		refused(what, err)
	}
	call("closure", func(_ *Callee, _ context.Context, k int) (int, error) { n++; return k, nil })
	call("function", Function)
	call("method value", (&Callee{}).Takes)
	call("unexported method", (*Callee).hidden)
	call("nil", nil)
	_, err := durable.Call(ctx, s, Adder.Add, 1)
	refused("interface expression", err)
	_, err = durable.Call(ctx, s, (*Generic[int]).Add, 1)
	refused("another class", err)
	_, err = durable.Call(ctx, rt.Namespace("Generic").Named("a"), (*Generic[string]).Add, 1)
	refused("another instance of a generic class", err)
	_, err = durable.Call0(ctx, s, func(*Callee, context.Context) (int, error) { n++; return 0, nil })
	refused("closure", err)
	refused("closure", durable.Exec(ctx, s, func(*Callee, context.Context, int) error { n++; return nil }, 1))
	refused("closure", durable.Exec0(ctx, s, func(*Callee, context.Context) error { n++; return nil }))
	refused("handler of the runtime's", durable.Exec(ctx, s, (*Callee).Alarm, durable.AlarmInfo{}))
	_, err = durable.Call0(ctx, s, (*Callee).Channel)
	wantErr(t, "result that cannot be copied", err, durable.ErrEncode)
	if n != 0 {
		t.Errorf("%d of them ran", n)
	}
}

// Caller and object share no memory, in either direction.
func TestCallCopies(t *testing.T) {
	rt := openCallee(t)
	s, ctx := rt.Namespace("Callee").Named("a"), t.Context()
	one := 1
	in := Args{L: []int{1, 2}, M: map[string]*int{"x": &one}}
	out, err := durable.Call(ctx, s, (*Callee).Keep, in)
	if err != nil {
		t.Fatal(err)
	}
	in.L[0], *in.M["x"] = 9, 9
	out.L[1], *out.M["x"] = 9, 9
	kept, err := durable.Call0(ctx, s, (*Callee).Kept)
	one = 1
	if d := cmp.Diff(Args{L: []int{1, 2}, M: map[string]*int{"x": &one}}, kept); d != "" || err != nil {
		t.Errorf("what the object kept: %v (-want +got):\n%s", err, d)
	}
}

func TestHowErrorsCross(t *testing.T) {
	rt := openCallee(t)
	s := rt.Namespace("Callee").Named("a")
	for _, tt := range []struct {
		kind, text string
		is         []error
		isNot      []error
		facts      durable.Error
	}{
		{"sentinel", "wrapped: sentinel", []error{errSentinel}, nil, durable.Error{Remote: true}},
		{"unknown", "wrapped: boom", nil, []error{errBoom}, durable.Error{Remote: true}},
		{"ours", "durable: key too large: 3000, limit 2048", []error{durable.ErrKeyTooLarge}, nil, durable.Error{Remote: true}},
		{"canceled", "context canceled", []error{context.Canceled}, nil, durable.Error{Remote: true}},
		{"inner", "boom", []error{durable.ErrReset}, nil, durable.Error{Remote: true}}, // of another object: this one was not reset
	} {
		err := durable.Exec(t.Context(), s, (*Callee).Fail, tt.kind)
		var e *durable.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %T is no *Error", tt.kind, err)
			continue
		}
		if e.Text != tt.text || err.Error() != tt.text {
			t.Errorf("%s: text %q, want %q", tt.kind, e.Text, tt.text)
		}
		if e.Remote != tt.facts.Remote || e.Retryable != tt.facts.Retryable || e.Overloaded != tt.facts.Overloaded || e.Reset != tt.facts.Reset {
			t.Errorf("%s: %+v, want %+v", tt.kind, *e, tt.facts)
		}
		for _, is := range tt.is {
			wantErr(t, tt.kind, err, is)
		}
		for _, not := range tt.isNot {
			if errors.Is(err, not) {
				t.Errorf("%s: the error itself crossed, not its text", tt.kind)
			}
		}
	}
}

func TestCallsOfAClassWithoutMethods(t *testing.T) {
	type empty struct{}
	c := durable.NewClass("Empty", func(context.Context, *durable.State) (empty, error) { return empty{}, nil }, nil)
	rt, err := durable.Open(memstore.New(nil), &durable.Options{Classes: []durable.Class{c}})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	err = durable.Exec0(t.Context(), rt.Namespace("Empty").Named("a"), func(empty, context.Context) error { return nil })
	wantErr(t, "Exec0", err, durable.ErrInvalidMethod)
}
