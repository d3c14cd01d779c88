package durable

import (
	"context"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Call calls a method of an object: durable.Call(ctx, stub, (*Counter).Add, 5).
// The method runs as an event, on this goroutine; Call returns when what it did is
// durable. Argument and result are copied as if they were stored, so caller and
// object never share memory, and limited to Limits.ArgumentBytes. Strings in them
// must be UTF-8; other bytes go as []byte.
//
// method must be a method expression of an exported method of the class's own
// type; closures, functions, method values and interface methods are [ErrInvalidMethod].
// An error that the method returns comes back as an [*Error] with Remote set. So does
// [ErrArgumentTooLarge] or [ErrEncode] for a result: the method has run by then, and what
// it wrote is kept. For the argument they come as they are, and nothing has happened.
//
// The deadline and the cancellation of ctx end the wait for the object's turn. The
// constructor, if it is needed, and the method then run on this goroutine: Call returns
// when they do, however long that takes, and when what was written is durable. So a
// method that waits for something should heed its own context, which ends with ctx.
// Limits.ShutTime does not shorten Call: it resets an object that keeps its gate shut for
// so long, whose code can then change nothing more, and Call returns [ErrTimeLimit] once
// that code has returned. If the object lives on another node, Call returns at the end of
// ctx, and the method may still run there.
func Call[T, In, Out any](ctx context.Context, s *Stub, method func(T, context.Context, In) (Out, error), in In) (Out, error) {
	var out Out
	name, err := checkMethod[T](s, reflect.ValueOf(method).Pointer())
	if err != nil {
		return out, err
	}
	limit := s.n.rt.opts.Limits.ArgumentBytes
	arg, size, err := copyValue(in, limit)
	if err != nil {
		return out, fmt.Errorf("argument: %w", err)
	}
	var result Out
	err = s.do(ctx, kindCall, size, func(ev *event, _ *object) error {
		v, err := method(ev.inst.value.(T), ev, arg)
		if err == nil {
			if result, _, err = copyValue(v, limit); err != nil {
				err = fmt.Errorf("result: %w", err)
			}
		}
		return err
	}, func(p *passage) error {
		v, err := passTyped[In, Out](p, name, arg)
		result = v
		return err
	})
	if err != nil {
		return out, err
	}
	return result, nil
}

// Call0 is [Call] for a method without an argument.
func Call0[T, Out any](ctx context.Context, s *Stub, method func(T, context.Context) (Out, error)) (Out, error) {
	var out, result Out
	name, err := checkMethod[T](s, reflect.ValueOf(method).Pointer())
	if err != nil {
		return out, err
	}
	err = s.do(ctx, kindCall, 0, func(ev *event, _ *object) error {
		v, err := method(ev.inst.value.(T), ev)
		if err == nil {
			if result, _, err = copyValue(v, s.n.rt.opts.Limits.ArgumentBytes); err != nil {
				err = fmt.Errorf("result: %w", err)
			}
		}
		return err
	}, func(p *passage) error {
		v, err := passTyped[none, Out](p, name, none{})
		result = v
		return err
	})
	if err != nil {
		return out, err
	}
	return result, nil
}

// Exec is [Call] for a method that returns only an error; all that is said of errors and waiting there holds here.
func Exec[T, In any](ctx context.Context, s *Stub, method func(T, context.Context, In) error, in In) error {
	name, err := checkMethod[T](s, reflect.ValueOf(method).Pointer())
	if err != nil {
		return err
	}
	arg, size, err := copyValue(in, s.n.rt.opts.Limits.ArgumentBytes)
	if err != nil {
		return fmt.Errorf("argument: %w", err)
	}
	return s.do(ctx, kindCall, size, func(ev *event, _ *object) error {
		return method(ev.inst.value.(T), ev, arg)
	}, func(p *passage) error {
		_, err := passTyped[In, none](p, name, arg)
		return err
	})
}

// Exec0 is Call for a method without an argument that returns only an error.
func Exec0[T any](ctx context.Context, s *Stub, method func(T, context.Context) error) error {
	name, err := checkMethod[T](s, reflect.ValueOf(method).Pointer())
	if err != nil {
		return err
	}
	return s.do(ctx, kindCall, 0, func(ev *event, _ *object) error {
		return method(ev.inst.value.(T), ev)
	}, func(p *passage) error {
		_, err := passTyped[none, none](p, name, none{})
		return err
	})
}

// methods remembers what methodName found, by code pointer.
var methods sync.Map // uintptr -> methodInfo

type methodInfo struct {
	receiver, name string
}

// checkMethod returns the name of the method at pc, or why that is none that can be called through s.
func checkMethod[T any](s *Stub, pc uintptr) (name string, err error) {
	if s == nil {
		return "", fmt.Errorf("%w: the stub is nil", ErrInvalidMethod)
	}
	c := s.n.class
	if t := reflect.TypeFor[T](); t != c.typ {
		return "", fmt.Errorf("%w: objects of class %s are %s, not %s", ErrInvalidMethod, c.name, c.typ, t)
	}
	v, ok := methods.Load(pc)
	if !ok {
		v, _ = methods.LoadOrStore(pc, splitMethod(runtime.FuncForPC(pc).Name()))
	}
	m := v.(methodInfo)
	switch {
	case m.receiver != c.receiver:
		return "", fmt.Errorf("%w: %s%s is no method expression of %s", ErrInvalidMethod, m.receiver, m.name, c.typ)
	case !isExported(m.name):
		return "", fmt.Errorf("%w: %s is not exported", ErrInvalidMethod, m.name)
	case m.name == "ServeHTTP" || m.name == "Alarm":
		return "", fmt.Errorf("%w: %s is a handler of the runtime's", ErrInvalidMethod, m.name)
	}
	return m.name, nil
}

// wireMethod is a method as other nodes call it.
type wireMethod struct {
	fn      reflect.Value
	in, out reflect.Type // nil: none
}

// wireMethods returns the methods that Call takes, by their names between nodes.
func wireMethods(c *class) map[string]wireMethod {
	all := make(map[string]wireMethod)
	for i := range c.typ.NumMethod() {
		m := c.typ.Method(i)
		t := m.Type
		if t.NumIn() < 2 || t.NumIn() > 3 || t.NumOut() < 1 || t.NumOut() > 2 || t.IsVariadic() ||
			t.In(1) != reflect.TypeFor[context.Context]() || t.Out(t.NumOut()-1) != reflect.TypeFor[error]() ||
			m.Name == "ServeHTTP" || m.Name == "Alarm" {
			continue
		}
		w := wireMethod{fn: m.Func}
		if t.NumIn() == 3 {
			w.in = t.In(2)
		}
		if t.NumOut() == 2 {
			w.out = t.Out(0)
		}
		all[c.wireName(m.Name)] = w
	}
	return all
}

// wireName is the name of a method between nodes.
func (c *class) wireName(method string) string {
	if name, ok := c.opts.MethodNames[method]; ok {
		return name
	}
	return method
}

// splitMethod takes "path/pkg.(*T).Name" apart: what stands up to the last dot, and the rest.
func splitMethod(fn string) methodInfo {
	i := strings.LastIndexByte(fn, '.')
	return methodInfo{receiver: fn[:i+1], name: fn[i+1:]}
}

// receiverOf returns what the linker puts before the name of a method of t.
func receiverOf(t reflect.Type) string {
	for i := range t.NumMethod() {
		if m := t.Method(i); m.IsExported() {
			// reflect's own name for the method is that of the wrapper; any one tells.
			if fn := runtime.FuncForPC(m.Func.Pointer()); fn != nil {
				return splitMethod(fn.Name()).receiver
			}
		}
	}
	return "\x00" // no exported methods: nothing can be called
}

func isExported(name string) bool {
	r, _ := utf8.DecodeRuneInString(name)
	return unicode.IsUpper(r) && !strings.HasSuffix(name, "-fm")
}

// copyValue returns a copy of v that shares nothing with it, and its encoded size.
func copyValue[V any](v V, limit int) (V, int, error) {
	t := reflect.TypeFor[V]()
	if isPlain(t) {
		return v, 8, nil
	}
	if s, ok := any(v).(string); ok && t.Kind() == reflect.String && utf8.ValidString(s) {
		if len(s) > limit {
			return v, 0, overLimit(ErrArgumentTooLarge, len(s), limit)
		}
		return v, len(s), nil
	}
	var c V
	body, err := marshal(v)
	if err != nil {
		return c, 0, err
	}
	if len(body) > limit {
		return c, 0, overLimit(ErrArgumentTooLarge, len(body), limit)
	}
	if err := unmarshal(body, &c, v); err != nil {
		return c, 0, err
	}
	return c, len(body), nil
}
