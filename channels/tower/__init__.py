"""The watchtower: one process that defends the channels of many customers.

`channels.tower.service.open_tower` is the tower, `channels.tower.book` what it keeps, and
`channels.tower.client` the customer's side. The HTTP server needs the extra ``tower``; everything
else here does not.

Source: design, watchtower.md "Service".
"""
