package main

import (
	"cmp"
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
)

// userJSON is a user of the server.
type userJSON struct {
	Login    string   `json:"login"`
	FullName string   `json:"full_name"`
	Groups   []string `json:"groups"`
	Disabled bool     `json:"disabled"`
}

func newUsers(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "users", Short: "List the users of the server, or change them", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.users(cmd.Context()) },
	}
	cmd.AddCommand(
		newUsersShow(c), newUsersCreate(c), newUsersUpdate(c), newUsersPasswd(c),
		newUsersChange(c, "delete", "Delete a user", (*esadmin.Client).DeleteUser),
		newUsersChange(c, "enable", "Allow a user to log in again", (*esadmin.Client).EnableUser),
		newUsersChange(c, "disable", "Keep a user from logging in", (*esadmin.Client).DisableUser),
	)
	return cmd
}

func newUsersShow(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "show LOGIN", Short: "Print one user", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withAdmin(cmd.Context(), func(ctx context.Context, _ *esclient.Client, a *esadmin.Client) error {
				user, err := a.User(ctx, args[0])
				if err != nil {
					return err
				}
				return c.printUsers(user)
			})
		},
	}
}

func (c *cli) users(ctx context.Context) error {
	return c.withAdmin(ctx, func(ctx context.Context, _ *esclient.Client, admin *esadmin.Client) error {
		users, err := admin.Users(ctx)
		if err != nil {
			return err
		}
		return c.printUsers(users...)
	})
}

func (c *cli) printUsers(users ...esadmin.User) error {
	var list []userJSON
	for _, u := range users {
		list = append(list, userJSON{u.Login, u.FullName, append([]string{}, u.Groups...), u.Disabled})
	}
	return printList(c, list, []string{"LOGIN", "NAME", "GROUPS", "DISABLED"}, func(u userJSON) []any {
		return []any{u.Login, cmp.Or(u.FullName, "-"), cmp.Or(strings.Join(u.Groups, ","), "-"), u.Disabled}
	})
}
