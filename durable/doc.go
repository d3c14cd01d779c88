// Package durable runs durable objects: values of your own types, found by name,
// each with one thread of control and its own strongly consistent storage.
//
// # Classes and objects
//
// A [Class] says how objects of one kind are made; what the objects can do is
// known from their type. An [http.Handler] takes requests, an [Alarmer] alarms, and
// any exported method takes calls:
//
//	counter := durable.NewClass("Counter", newCounter, nil)
//	rt, err := durable.Open(store, &durable.Options{Classes: []durable.Class{counter}})
//	n, err := durable.Call(ctx, rt.Namespace("Counter").Named("visits"), (*Counter).Add, 1)
//
// A [Stub] is the way to one object. It costs nothing to make and is never broken.
// The object comes into memory with its first event and leaves it ten seconds
// after the last; what it keeps in fields is gone then, what it keeps in [Storage] is not.
//
// # Events and the gate
//
// A request, a call, an alarm, a function of [State.WaitUntil] and the constructor
// are events. At most one event of an object runs at any moment, in the order of
// arrival, on the goroutine of its caller. So an object's fields need no lock, and
// nothing happens between reading and writing storage.
//
// While an event waits for another object, inside [State.Await] and while it
// flushes an answer, its gate is open: other events of the object may run, and
// what the event knew of the object may be out of date when it goes on.
// [State.BlockConcurrencyWhile] keeps the gate shut nevertheless; a chain of calls
// that would then wait for itself fails at once with [ErrDeadlock].
//
// # Commit points
//
// What an event writes is visible to the object at once, and becomes durable as
// one atomic batch at the next commit point: a call to another object, Await,
// Flush, [Storage.Sync], or the end of the event. No answer, call or request leaves
// the object before every batch that came before it is durable. Later events do
// not wait for that, so one busy object commits many times for each fsync.
//
// An error that a handler returns takes nothing back. A panic discards what was
// written since the last commit point and resets the object: a new instance is made
// for the next event.
//
// # Errors
//
// Callers get an [*Error] whose facts say whether the object's own code failed
// (Remote), whether it is safe to try again (Retryable), whether that would help
// (Overloaded), and whether the instance is gone (Reset). errors.Is finds the
// sentinels of this package and those that a class registers. When the disk fails,
// everything returns [ErrStoreBroken] until the store is opened again. Whoever asks by
// HTTP sees a status; the reasons that it hides are in the log, see [Stub.ServeHTTP].
//
// # Many machines
//
// With a [Placement] (package cluster is one, on PostgreSQL) objects live on several
// nodes, each on one of them at a time. Stubs find them: requests and calls are
// passed on to the object's node, with deadline, cancellation and trace, and their
// errors say whether the event may have run. Nothing leaves an object unless its node
// still owns it after the event. A node hands objects over in order with
// [Runtime.Linger] and [Runtime.Vacate], or loses them with [Runtime.Drop].
//
// # Differences from JavaScript Durable Objects
//
// The gate also holds between storage calls. A panic discards the turn, where an
// exception does not. Values are CBOR. Times are those of the runtime's clock, which
// [github.com/perdure/perdure/durable/durabletest] can set.
package durable
