package durable

import (
	"context"
	"errors"
	"fmt"

	"github.com/perdure/perdure/store"
)

// Errors that say that a call was wrong. Nothing was written.
var (
	// ErrNoEvent: storage, a stub or Await was used with a context that is not that of a
	// running event of this object: from a stray goroutine, or after the event's end.
	ErrNoEvent = errors.New("durable: not inside an event of this object")

	// ErrGateOpen: storage was used, or the gate opened a second time, while the event waits
	// at an opening (a stub call, Await, Flush), where other events of the object run.
	ErrGateOpen = errors.New("durable: the event's gate is open")

	// ErrInTransaction: a stub call, Await, Flush, Sync or DeleteAll inside a transaction.
	ErrInTransaction = errors.New("durable: not allowed inside a transaction")

	// ErrRolledBack: storage was used inside a transaction after its Rollback.
	ErrRolledBack = errors.New("durable: the transaction was rolled back")

	// ErrTransactionDone: Rollback of a transaction that has ended.
	ErrTransactionDone = errors.New("durable: the transaction has ended")

	// ErrIteratorInvalid: a list was used after the next commit point.
	ErrIteratorInvalid = errors.New("durable: the list ended at a commit point")

	// ErrInvalidCursor: a page cursor that ListPage did not make.
	ErrInvalidCursor = errors.New("durable: invalid cursor")

	// ErrInvalidRange: ListOptions that exclude each other.
	ErrInvalidRange = errors.New("durable: invalid list options")

	// ErrInvalidID: text that is no object id of this namespace, or an id of another one.
	ErrInvalidID = errors.New("durable: invalid object id")

	// ErrInvalidAlarm: an alarm time that is not after 1970.
	ErrInvalidAlarm = errors.New("durable: invalid alarm time")

	// ErrNoHandler: the class has no handler for this kind of event.
	ErrNoHandler = errors.New("durable: the class has no handler for this")

	// ErrInvalidMethod: a function that Call cannot take: a closure, an interface's or an
	// unexported method, a method of another class.
	ErrInvalidMethod = errors.New("durable: not a method that can be called")

	// ErrEncode: a value that cannot be stored, or that could not be read back equal.
	ErrEncode = errors.New("durable: value cannot be encoded")

	// ErrDecode: stored bytes that do not fit the variable that they are read into.
	ErrDecode = errors.New("durable: value cannot be decoded")
)

// Errors that name a limit; they come wrapped in a [*LimitError], which crosses to an
// object's caller with them.
var (
	ErrKeyTooLarge      = errors.New("durable: key too large")
	ErrValueTooLarge    = errors.New("durable: value too large")
	ErrTooManyKeys      = errors.New("durable: too many keys in one call")
	ErrTurnTooLarge     = errors.New("durable: too much written between two commit points")
	ErrBodyTooLarge     = errors.New("durable: request body too large")
	ErrAnswerTooLarge   = errors.New("durable: answer too large without Flush")
	ErrArgumentTooLarge = errors.New("durable: argument or result too large") // of a result: what the method wrote is kept, see Call
	ErrQuotaExceeded    = errors.New("durable: storage quota of the namespace exceeded")
	ErrCallTooDeep      = errors.New("durable: call chain too deep")
)

// Errors of the runtime. They come wrapped in an [*Error] that carries facts on
// retrying. Only ErrClosed and ErrStoreBroken also come without one, if no event had
// begun; an event whose commit was lost with the store gets an [*Error] with Reset.
var (
	// ErrOverloaded: the object's queue is full, or the event waited in it too long. It did not run.
	ErrOverloaded = errors.New("durable: object is overloaded")

	// ErrReset: the object was reset while the event ran. Its uncommitted writes are lost.
	ErrReset = errors.New("durable: object was reset")

	// ErrPanic: the event panicked. Its writes since the last commit point are lost, the object was reset.
	ErrPanic = errors.New("durable: event panicked")

	// ErrConstructor: the class's constructor failed. The event did not run, and what the
	// constructor wrote since its last commit point is lost. It is not Retryable: it would most likely fail again.
	ErrConstructor = errors.New("durable: constructor failed")

	// ErrTimeLimit: the gate was kept shut, or an alarm or background function ran, for too long.
	ErrTimeLimit = errors.New("durable: time limit exceeded")

	// ErrDeadlock: a call chain came back to an object that the chain itself keeps shut.
	ErrDeadlock = errors.New("durable: call chain would wait for itself")

	// ErrNotCommitted: the engine refused the event's commit, or its outcome is unknown.
	ErrNotCommitted = errors.New("durable: commit failed")

	// ErrShutdown: the runtime is shutting down and takes no new events.
	ErrShutdown = errors.New("durable: shutting down")

	// ErrClosed: the runtime is closed.
	ErrClosed = errors.New("durable: closed")

	// ErrStoreBroken: a write or sync of the engine failed; the runtime has to be opened again.
	ErrStoreBroken = errors.New("durable: store is broken")
)

// LimitError names a limit that was exceeded. errors.Is finds Err.
type LimitError struct {
	Err   error // one of the errors above
	Limit int64 // bytes or a count, as Err says
	Size  int64 // what was asked for
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%v: %d, limit %d", e.Err, e.Size, e.Limit)
}

// Unwrap returns e.Err.
func (e *LimitError) Unwrap() error { return e.Err }

func overLimit(err error, size, limit int) error {
	return &LimitError{Err: err, Limit: int64(limit), Size: int64(size)}
}

// Error is what a caller of an object gets when an event failed, wherever the
// object lives. A user's error crosses as text and facts; errors.Is finds those
// sentinels of package durable, package context and [ClassOptions].Errors that the
// original error was, errors.As its [*LimitError]. What is wrong before there is an
// event comes as no Error: a method that can't be called, an argument that can't be passed.
type Error struct {
	Text string

	// Remote says that the error is that of the object's own code: it returned it, or
	// a result that can't be passed on. Unless Reset is set too, what it wrote is kept.
	Remote bool
	// Retryable says that the event is known not to have run, or to have left nothing
	// behind, and may be sent again. Without it that may be so too, as with ErrConstructor.
	Retryable bool
	// Overloaded says that sending it again at once would make things worse.
	Overloaded bool
	// Reset says that the object's instance is gone; the next event gets a new one.
	Reset bool

	is []error // sentinels that the original was
}

func (e *Error) Error() string { return e.Text }

// Unwrap returns the sentinels that the original error was.
func (e *Error) Unwrap() []error { return e.is }

// crossing are the sentinels that survive the way from an object to its caller,
// besides those that a class registers. context's are among them so that a
// caller sees its own cancellation.
var crossing = []error{
	context.Canceled, context.DeadlineExceeded,
	ErrNoEvent, ErrGateOpen, ErrInTransaction, ErrRolledBack, ErrTransactionDone, ErrIteratorInvalid,
	ErrInvalidCursor, ErrInvalidRange, ErrInvalidID, ErrInvalidAlarm, ErrNoHandler, ErrInvalidMethod, ErrEncode, ErrDecode,
	ErrKeyTooLarge, ErrValueTooLarge, ErrTooManyKeys, ErrTurnTooLarge, ErrBodyTooLarge, ErrAnswerTooLarge,
	ErrArgumentTooLarge, ErrQuotaExceeded, ErrCallTooDeep,
	ErrOverloaded, ErrReset, ErrPanic, ErrConstructor, ErrTimeLimit, ErrDeadlock, ErrNotCommitted,
	ErrShutdown, ErrClosed, ErrStoreBroken, ErrNotOwner, ErrUnreachable,
}

// remote turns an error of user code into what its caller sees.
func remote(err error, registered []error) error {
	if err == nil {
		return nil
	}
	e := &Error{Text: err.Error(), Remote: true}
	var inner *Error
	if errors.As(err, &inner) {
		e.Overloaded = inner.Overloaded // not Retryable: this event may have left something behind
	}
	for _, s := range registered {
		if errors.Is(err, s) {
			e.is = append(e.is, s)
		}
	}
	var lim *LimitError
	errors.As(err, &lim)
	for _, s := range crossing {
		switch {
		case !errors.Is(err, s):
		case lim != nil && lim.Err == s:
			e.is = append(e.is, &LimitError{Err: s, Limit: lim.Limit, Size: lim.Size}) // the object keeps its own
		default:
			e.is = append(e.is, s)
		}
	}
	return e
}

// resetError is an error that goes along with the loss of the instance.
func resetError(is error, text string) *Error {
	return &Error{Text: is.Error() + text, Reset: true, is: []error{is, ErrReset}}
}

func overloaded(why string) *Error {
	return &Error{Text: ErrOverloaded.Error() + ": " + why, Retryable: true, Overloaded: true, is: []error{ErrOverloaded}}
}

func notStarted(is error) *Error {
	return &Error{Text: is.Error(), Retryable: true, is: []error{is}}
}

// storeError translates an engine's error.
func storeError(op string, err error) error {
	switch {
	case errors.Is(err, store.ErrBroken):
		return fmt.Errorf("%w: %s: %w", ErrStoreBroken, op, err)
	case errors.Is(err, store.ErrClosed):
		return fmt.Errorf("%w: %s", ErrClosed, op)
	}
	return fmt.Errorf("durable: %s: %w", op, err)
}
