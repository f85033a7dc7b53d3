// Package shop has the commands and the events of a shop, which are generated from shop.proto. After a change there,
// with protoc 3.21 or later:
//
//	go install google.golang.org/protobuf/cmd/protoc-gen-go
//	go generate ./shop
package shop

//go:generate protoc --go_out=. --go_opt=paths=source_relative shop.proto
