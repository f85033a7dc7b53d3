// Package esadmin administers an EventStore over its HTTP interface: it describes the groups of persistent
// subscriptions, replays what they have parked, and manages users. What goes over TCP is in package esclient: groups
// are made, changed and deleted there, and parked events are read.
//
//	admin, err := esadmin.New(client)
//	groups, err := admin.Groups(ctx, "orders")
//
// Requests act for the user of [esclient.WithCredentials], or else for the one of the client.
//
// # Errors
//
// An error is an [*esclient.OperationError], or an [*esclient.ArgumentError] for what was refused before anything was
// sent. What the server answered, or that it did not, is an [*HTTPError] within. Conditions are found with errors.Is:
// [ErrUserExists], [ErrUserNotFound] and [ErrNotFound], and those that both packages know, such as
// [esclient.ErrAccessDenied] and [esclient.ErrGroupNotFound]. [esclient.SafeToRetry] and [esclient.Timeout] sort these
// errors, too.
package esadmin
