from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('registry', '0002_older_platform'),
    ]

    operations = [
        migrations.AddField(
            model_name='model',
            name='archive_params',
            field=models.CharField(blank=True, max_length=64),
        ),
    ]
