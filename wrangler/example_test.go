package wrangler_test

import (
	"fmt"

	"github.com/perdure/perdure/wrangler"
)

const shop = `name = "shop"

[durable_objects]
bindings = [{ name = "CARTS", class_name = "Cart" }]

[[migrations]]
tag = "v1"
new_sqlite_classes = ["Basket", "Visit"]

[[migrations]]
tag = "v2"
renamed_classes = [{ from = "Basket", to = "Cart" }]
deleted_classes = ["Visit"]

[vars]
LIMIT = 10
`

// A folder that went through v1 earlier has a class to rename and one whose data
// goes, for which the caller asks the user first.
func ExampleConfig_Plan() {
	cfg, err := wrangler.Parse("wrangler.toml", []byte(shop), "")
	if err != nil {
		fmt.Println(err)
		return
	}
	recorded := wrangler.State{Applied: []string{"v1"}, Classes: []string{"Basket", "Visit"}}
	plan, err := cfg.Plan(recorded, []string{"Cart"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range plan.Deletes {
		fmt.Printf("line %d deletes all data of %s\n", c.Line, c.Name)
	}
	for _, r := range plan.Renames {
		fmt.Printf("%s becomes %s\n", r.From, r.To)
	}
	fmt.Println("record", plan.Next.Applied, plan.Next.Classes)
	// Output:
	// line 13 deletes all data of Visit
	// Basket becomes Cart
	// record [v1 v2] [Cart]
}

// A new folder takes all migrations at once; what they undo among themselves
// never happens.
func ExampleConfig_Plan_newFolder() {
	cfg, err := wrangler.Parse("wrangler.toml", []byte(shop), "")
	if err != nil {
		fmt.Println(err)
		return
	}
	plan, err := cfg.Plan(wrangler.State{}, []string{"Cart"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range plan.Creates {
		fmt.Printf("create %s, first called %s\n", c.Name, c.First)
	}
	fmt.Println(len(plan.Deletes), "to delete")
	// Output:
	// create Cart, first called Basket
	// 0 to delete
}

func ExampleParse() {
	cfg, err := wrangler.Parse("wrangler.toml", []byte(shop), "")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(cfg.Name, cfg.Bindings[0].Name, cfg.Bindings[0].ClassName, cfg.Vars["LIMIT"])

	_, err = wrangler.Parse("wrangler.toml", []byte("[[durable_objects.bindings]]\nname = \"CARTS\"\nclas_name = \"Cart\""), "")
	fmt.Println(err)
	// Output:
	// shop CARTS Cart 10
	// wrangler.toml:3: the binding has no "class_name" but has "clas_name"; did you mean "class_name"?
}
