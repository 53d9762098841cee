"""The node ends in the midst of an import: it takes back what it wrote, and says so."""

import os
import time

import numpy as np

from don_kp.srv import ImportDescriptors
from don_kp_ros.database import exchange
from don_kp_ros.database.store import DescriptorStore


def test_an_import_ends_with_the_node_and_its_caller_is_told(start_node, peer, tmp_path):
    file, database = tmp_path / 'many.jsonl', tmp_path / 'd.sqlite'
    with DescriptorStore(tmp_path / 'other.sqlite') as store:
        for index in range(100):
            store.put(f'cap/{index}', 'm', np.eye(8, dtype=np.float32)[index % 8])
        exchange.export(store, file)
    lines = file.read_bytes().splitlines(keepends=True)
    file.unlink()
    os.mkfifo(file)  # so that the import lasts as long as the test wants
    node = start_node('descriptor_database', database=database, exchange_folder=tmp_path)
    node.wait_for(' descriptors in ')
    peer.meet('/import_descriptors')
    client = peer.node.create_client(ImportDescriptors, '/import_descriptors')
    peer.wait_until(client.service_is_ready)
    answer = client.call_async(ImportDescriptors.Request(file=file.name))
    with file.open('wb', buffering=0) as written:
        written.write(lines[0])
        node.process.terminate()
        for line in lines[1:]:
            try:
                written.write(line)
            except BrokenPipeError:
                break
            time.sleep(0.03)
        else:
            raise AssertionError('the whole file was read')
    peer.wait_until(answer.done)
    told = answer.result()
    assert not told.success
    assert told.message == (
        'the node ends; nothing was imported: import again once the database node runs'
    )
    assert node.await_end() == 0
    with DescriptorStore(database) as store:
        assert store.count() == 0
