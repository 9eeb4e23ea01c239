"""The API as its callers see it."""


async def test_items_are_listed_with_a_token(client, bearer, item_id):
    answer = await client.get("/api/v1/items", headers=bearer("items:read"))
    assert answer.status_code == 200, answer.text
    assert [one["id"] for one in answer.json()["data"]] == [str(item_id)]
    assert answer.json()["next_cursor"] is None
