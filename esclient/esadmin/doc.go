// Package esadmin administers an EventStore over its HTTP interface. It describes the groups of persistent
// subscriptions, replays their parked events, and manages users. Package esclient has the requests that go over TCP: it
// creates, updates and deletes groups, and reads their parked events.
//
//	admin, err := esadmin.New(client)
//	groups, err := admin.Groups(ctx, "orders")
//
// Requests act for the user of [esclient.WithCredentials], or else for the one of the client.
//
// # Errors
//
// An [*esclient.ArgumentError] means that the package refused an argument and sent nothing. Every other error of a
// request is an [*esclient.OperationError]. It wraps an [*HTTPError] with the answer of the server, or with the reason
// why there is none. Use errors.Is with the conditions [ErrUserExists], [ErrUserNotFound] and [ErrNotFound], and with
// those of esclient, such as [esclient.ErrAccessDenied] and [esclient.ErrGroupNotFound]. [esclient.SafeToRetry] and
// [esclient.Timeout] sort these errors, too.
package esadmin
