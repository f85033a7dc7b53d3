// Package esprom has Prometheus metrics of an EventStore client and of persistent subscription groups.
//
// A [Hook] measures an esclient.Client. Add it to the configuration of the client, and register it:
//
//	metrics, err := esprom.NewHook(esprom.HookConfig{Streams: []string{"orders"}})
//	registry.MustRegister(metrics)
//	cfg, err := esclient.ParseConnectionString("tcp://admin:changeit@localhost:1113")
//	cfg.Hooks = append(cfg.Hooks, metrics)
//	client, err := esclient.New(cfg)
//
// It also measures Publishers and Subscribers with that client in their configuration. [Groups] asks the server for the
// progress of its groups:
//
//	admin, err := esadmin.New(client)
//	groups, err := esprom.NewGroups(admin, esprom.GroupsConfig{})
//	registry.MustRegister(groups)
//
// One Hook may serve several clients and adds up their values. To keep them apart, give each client a Hook of its own,
// and register it with prometheus.WrapRegistererWith and a label for the client. Watermill's components/metrics counts
// messages of handlers, and can be in the same registry.
//
// # Labels
//
// All labels have a bounded number of values. Ids of events, numbers and endpoints are never labels. Of the names of
// streams, only those in HookConfig.Streams, or the results of HookConfig.StreamLabel, are labels. All others are
// "other".
// The label group of a subscription without a group is empty. HookConfig.MaxSubscriptions and GroupsConfig.MaxGroups
// bound the number of names.
//
// # Metrics of a Hook
//
// Operations, by the name that the protocol gives the request, such as WriteEvents. An operation is a request that the
// server answers once:
//
//	eventstore_client_operation_duration_seconds{command,result}  histogram, waiting for a connection included
//	eventstore_client_operations_in_flight{command}               gauge
//	eventstore_client_operation_sent_bytes_total{command}         all attempts together
//	eventstore_client_operation_received_bytes_total{command}
//	eventstore_client_retries_total{command,reason}               subscribing included
//
// Connections:
//
//	eventstore_client_connections                     gauge: connections that are ready
//	eventstore_client_connects_total
//	eventstore_client_disconnects_total{reason}       reason closed: the client was closed
//	eventstore_client_reconnects_total                attempts that follow a failed one or a lost connection
//	eventstore_client_authentication_failures_total
//
// Subscriptions, each with the labels stream and group:
//
//	eventstore_subscription_active                    gauge: begun, and not ended
//	eventstore_subscription_queue_length              gauge: events received and not delivered
//	eventstore_subscription_lag_events                gauge: events of the stream behind the last one delivered
//	eventstore_subscription_lag_seconds               gauge: age of the oldest event that is not delivered
//	eventstore_subscription_confirmations_total       by the server, at first and after each loss
//	eventstore_subscription_delivered_total
//	eventstore_subscription_delivered_bytes_total     data and metadata
//	eventstore_subscription_delivery_delay_seconds    histogram: from the write of an event to its delivery
//	eventstore_subscription_redelivered_total         delivered before, as the server counts
//	eventstore_subscription_acked_total
//	eventstore_subscription_nacked_total{action}      retry, stop, and those of the next two
//	eventstore_subscription_parked_total              by the consumer; the server's own: eventstore_group_parked
//	eventstore_subscription_skipped_total             by the consumer
//	eventstore_subscription_unresolved_total          links that lead to no event
//	eventstore_subscription_left_out_total{reason}    given back to the server, or too large
//	eventstore_subscription_dropped_total{reason}     by the server, or with the connection
//	eventstore_subscription_slow_consumer_total       too slow for the group's message timeout
//	eventstore_subscription_log_went_back_total       the server has come back with an older log
//	eventstore_subscription_ended_total{reason}       reason stopped: by the consumer
//
// Where several subscriptions have the same labels, lag is that of the one that is furthest behind, and the queue
// length the sum. The lag in events is missing for $all, where events have no numbers, and until a first event is
// delivered. For a subscriber of a group it is 0 while nothing waits in the client, because other subscribers of the
// group get the later events. It counts only events that the client knows: servers push to a persistent subscription
// only as many as may be in flight, and the client does not know of others. The server's own count is
// eventstore_group_lag_events.
//
// The result of an operation, ok if there was no error, and the reasons are classes of errors, as esclient.ErrorClass
// lists them.
//
// # Metrics of Groups
//
// Each but the last three has the labels stream and group:
//
//	eventstore_group_subscribers
//	eventstore_group_in_flight             pushed and not settled
//	eventstore_group_lag_events            behind the checkpoint that the server has written; not for $all
//	eventstore_group_parked                from servers 21.10 on
//	eventstore_group_processed_total       pushed since the server runs the group
//	eventstore_groups_up                   1 if the server answered
//	eventstore_groups_collect_seconds      how long it took
//	eventstore_groups_left_out             groups beyond GroupsConfig.MaxGroups
package esprom
