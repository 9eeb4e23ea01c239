"""Which queue a worker serves first, on the real Redis."""

from kombu import Connection
from kombu import Queue as KombuQueue

from core.broker.messages import Queue
from core.broker.transport import celery_settings

# As every deployment's command names them.
NAMED = ["sync.webhook", "sync.scheduled", "sync.backfill", "sync.replay", "maintenance"]


def test_a_worker_serves_its_queues_in_our_order_however_they_are_named(settings):
    options = celery_settings(settings)["broker_transport_options"]
    served = []

    def take(_body, message):
        served.append(message.delivery_info["routing_key"])
        message.ack()

    with Connection(settings.redis_url, transport_options=options) as connection:
        queues = [KombuQueue(name) for name in NAMED]
        for queue in queues:
            connection.Producer().publish({}, routing_key=queue.name, declare=[queue])
        with connection.Consumer(queues, callbacks=[take]):
            while len(served) < len(NAMED):
                connection.drain_events(timeout=20)
    assert served == [queue.value for queue in Queue if queue is not Queue.AUDIT]
